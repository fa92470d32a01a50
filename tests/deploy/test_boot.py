"""A test of install, upgrade and removal under a real systemd, booted in namespaces of its own.

It needs root, the system's own Python, and the package index, as the installation itself does.
"""

import os
import shutil
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import engine
from deploy.folders import ROOT

_HERE = Path(__file__).parent / "boot"
_SYSTEMD = Path("/lib/systemd/systemd")
_PYTHON = Path("/usr/bin/python3")  # the units see no home folders, where other interpreters may live
_JOKE = "Why did the llama cross the road? To get to the other slide."
_TIMEOUT_S = 600
_UNSHARE = ("unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child")

pytestmark = pytest.mark.processes


def _why_not() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0 or not _SYSTEMD.exists():
        return "needs root and systemd"
    if _cgroups() is None:
        return "needs a writable cgroup-v2 hierarchy"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    probe = [str(_PYTHON), "-c", f"import sys, venv; sys.exit(sys.version.startswith('{version}.') is False)"]
    if not _PYTHON.exists() or subprocess.run(probe, capture_output=True, check=False, timeout=30).returncode:
        return f"needs {_PYTHON} to be Python {version} with venv"
    if subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False, timeout=30).returncode:
        return "needs namespaces"
    return None


def _cgroups() -> Path | None:
    """The mount point of the cgroup-v2 hierarchy, if we may make groups in it."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(place)
    return None


_MISSING = _why_not()


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A control group for everything that the test boots; killed and removed afterwards."""
    top = _cgroups()
    assert top is not None
    group = top / f"llamactor-test-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    yield group
    for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        folder.rmdir()
    group.rmdir()


@pytest.fixture
def folder(tmp_path: Path, tiny_gguf: Path) -> Path:
    """What the booted system sees: a checkout, the packages it needs, the llama.cpp that is built, and the proof."""
    for path in _HERE.iterdir():
        shutil.copy(path, tmp_path)
    shutil.copy(tiny_gguf, tmp_path / "tiny.gguf")
    checkout = tmp_path / "checkout"
    for name in ("actors", "deploy", "gateway", "registry", "runners"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    wheel = engine.built_wheel(engine.build_from())
    assert wheel is not None
    shutil.copytree(wheel.parent, tmp_path / "built" / wheel.parent.name)
    _download(tmp_path / "wheels", llama_cpp=wheel)
    return tmp_path


def _download(folder: Path, *, llama_cpp: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", str(folder)]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--find-links", str(llama_cpp.parent), *needed]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode:
        pytest.skip(f"needs the package index: {done.stderr}")


def _boot(folder: Path, cgroup: Path) -> "subprocess.CompletedProcess[str]":
    """Boot until the proof has ended; what was booted dies with the command."""
    return subprocess.run(
        [*_UNSHARE, "sh", str(_HERE / "boot.sh"), str(folder)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
        preexec_fn=lambda: (cgroup / "cgroup.procs").write_text(str(os.getpid())),
    )


@pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))
def test_install_serve_upgrade_return_and_remove_under_systemd(folder: Path, cgroup: Path) -> None:
    """The units come up sandboxed, serve, outlive a killed scheduler, change releases, drain and leave nothing."""
    done = _boot(folder, cgroup)
    output = folder / "output"
    assert output.exists(), done.stdout + done.stderr
    sys.stderr.write((folder / "errors").read_text())
    told = {name: value.strip() for name, _, value in (line.partition(":") for line in output.read_text().splitlines())}
    assert told["installed"] == "0 active active active"
    assert told["users"].startswith("llamact")
    assert told["answer"] == _JOKE
    assert told["folders"] == "llamactor-gateway llamactor-runner llamactor-scheduler"
    assert told["answer with a new scheduler"] == _JOKE
    assert told["restarts"].split() == ["0", "1", "0"]
    assert told["capabilities"].strip("0") == ""
    assert told["no new privileges"] == "1"
    assert told["again"] == "0 the same processes"
    assert told["upgraded"] == "0 active active active"
    assert told["asked meanwhile"] in {"whole", "refused whole"}
    assert told["new version"] == "actorctl version is 99.0"
    assert told["new answer"] == _JOKE
    assert told["releases"] == "2"
    assert told["old version"] == f"actorctl version is {_version()}"
    assert told["old answer"] == _JOKE
    assert "drained" in told
    assert told["stopped"] == "inactive inactive inactive"
    assert told["results"].split() == ["success"] * 3
    assert told["left"] == ""
    assert told["uninstalled"] == "0"
    assert told["kept"] == "etc/llamactor/llamactor.env var/lib/llamactor/models"
    assert told["purged"] == "0"
    assert told["left at last"] == ""


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
