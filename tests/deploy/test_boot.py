"""A test of the units under a real systemd, booted in namespaces of its own. Needs root and the system's own Python."""

import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.folders import ROOT

_HERE = Path(__file__).parent / "boot"
_SYSTEMD = Path("/lib/systemd/systemd")
_PYTHON = Path("/usr/bin/python3")  # the units see no home folders, where other interpreters may live
_JOKE = "Why did the llama cross the road? To get to the other slide."
_TIMEOUT_S = 240
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


def _boot(folder: Path, cgroup: Path) -> "subprocess.CompletedProcess[str]":
    """Boot until the proof has ended; what was booted dies with the command."""
    command = [*_UNSHARE, "sh", str(_HERE / "boot.sh"), str(folder), str(_PYTHON), sysconfig.get_path("purelib")]
    return subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
        preexec_fn=lambda: (cgroup / "cgroup.procs").write_text(str(os.getpid())),
    )


@pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))
def test_units_start_answer_survive_and_stop_under_systemd(tmp_path: Path, tiny_gguf: Path, cgroup: Path) -> None:
    """The three units come up sandboxed, serve, outlive a killed scheduler, drain and leave nothing."""
    for path in _HERE.iterdir():
        shutil.copy(path, tmp_path)
    shutil.copy(tiny_gguf, tmp_path / "tiny.gguf")
    done = _boot(tmp_path, cgroup)
    output = tmp_path / "output"
    assert output.exists(), done.stdout + done.stderr
    told = dict(line.split(": ", 1) for line in output.read_text().splitlines())
    assert told["booted"] == "active active active ", (tmp_path / "errors").read_text()
    assert told["users"].strip().startswith("llamact")
    assert told["answer"] == _JOKE
    assert told["folders"] == "llamactor-gateway llamactor-runner llamactor-scheduler"
    assert told["answer with a new scheduler"] == _JOKE
    assert told["restarts"].split() == ["0", "1", "0"]
    assert told["capabilities"].strip("0") == ""
    assert told["no new privileges"] == "1"
    assert "drained" in told
    assert told["stopped"] == "inactive inactive inactive "
    assert told["results"].split() == ["success"] * 3
    assert told["left"] == ""
