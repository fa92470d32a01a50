"""The virtual environment: made, filled with pinned versions, and stamped with what it was made from."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from deploy import engine, requisites
from deploy.folders import ROOT
from deploy.report import SetupFailed, say

_STAMP = "llamactor-setup.json"


class Environment:
    """One virtual environment of this checkout; owned by the set-up that holds the lock."""

    def __init__(self, folder: Path, *, build: engine.Build, is_for_development: bool) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self._build = build
        self._is_for_development = is_for_development

    def is_current(self) -> bool:
        """Tell whether everything is as `install` would leave it."""
        return self.python.exists() and self._stamp() == self._wanted()

    def install(self) -> None:
        """Make the environment what it should be.

        Raises:
            SetupFailed: something is missing or fails; the next try starts where this one ended.
        """
        is_new = not self._runs()
        needs_engine = is_new or self._stamp().get("engine") != self._wanted()["engine"]
        requisites.require(venv=is_new, compiler=needs_engine and engine.built_wheel(self._build) is None)
        if is_new:
            say(f"creating {self.folder}")
            self._run(sys.executable, "-m", "venv", "--clear", str(self.folder))
        if needs_engine:
            wheel = engine.wheel_for(self._build, python=self.python)
            say("installing llama.cpp")
            # The version alone does not tell a CPU wheel from a CUDA one, hence by force.
            self._pip("install", "--quiet", "--force-reinstall", "--no-deps", str(wheel))
        say("installing the dependencies")
        if self._is_for_development:
            self._pip("install", "--quiet", *self._development_requirements(), "--editable", str(ROOT))
        else:
            self._install_copy()
        self._run(str(self.python), "-c", "import llama_cpp.llama_cpp")
        (self.folder / _STAMP).write_text(json.dumps(self._wanted()))

    def _wanted(self) -> dict[str, str]:
        sources = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
        place = f"{self.folder} {sys.version}"
        if self._is_for_development:
            place += f" {ROOT}"  # the sources are used where they are
        else:
            sources += [path.read_bytes() for package in _packages() for path in sorted(package.rglob("*.py"))]
        return {
            "engine": f"{self._build.variant} {self._build.key(engine.this_cpuinfo())}",
            "project": hashlib.sha256(b"\0".join([*sources, place.encode()])).hexdigest(),
        }

    def _stamp(self) -> dict[str, str]:
        try:
            stamp = json.loads((self.folder / _STAMP).read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def _runs(self) -> bool:
        # A system upgrade can leave an environment whose interpreter is gone or whose modules belong to another one.
        if not self.python.exists():
            return False
        command = [str(self.python), "-c", "import sys, pip; print(sys.version)"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return found.returncode == 0 and found.stdout.strip() == sys.version.strip()

    def _install_copy(self) -> None:
        # From a copy of the sources: building leaves files beside them, which would be root's in a user's checkout.
        with tempfile.TemporaryDirectory() as scratch:
            for package in _packages():
                shutil.copytree(package, Path(scratch, package.name), ignore=shutil.ignore_patterns("__pycache__"))
            for name in ("pyproject.toml", "README.md", "LICENSE"):
                shutil.copy(ROOT / name, scratch)
            self._pip("install", "--quiet", "--upgrade", "--force-reinstall", "--no-deps", scratch)
            self._pip("install", "--quiet", scratch)

    def _development_requirements(self) -> list[str]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        return list(project["dependency-groups"]["dev"])  # pip before 25.1 cannot read groups itself

    def _pip(self, *arguments: str) -> None:
        self._run(str(self.python), "-m", "pip", *arguments)

    def _run(self, *command: str) -> None:
        constraints = str(ROOT / "constraints.txt")
        environ = os.environ | {"PIP_CONSTRAINT": constraints, "PIP_BUILD_CONSTRAINT": constraints}
        environ |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            remedy = requisites.remedy_for(done.stdout) or f"`{' '.join(command)}` failed ({done.returncode})"
            raise SetupFailed(f"{remedy}\n{done.stdout}".rstrip())


def _packages() -> list[Path]:
    return [ROOT / name for name in ("actors", "gateway", "registry", "runners")]
