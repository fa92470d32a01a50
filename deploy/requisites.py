"""What the machine must bring along, and the one line that supplies what is missing."""

import importlib.util
import os
import shutil
from collections.abc import Mapping

from deploy.report import SetupFailed

_CXX_COMPILERS = ("c++", "g++", "clang++")
_C_COMPILERS = ("cc", "gcc", "clang")


def require(*, venv: bool, compiler: bool, environ: Mapping[str, str] = os.environ) -> None:
    """Check what is about to be needed, all of it at once, before anything is made.

    Args:
        venv: a virtual environment has to be made; Debian splits the module off.
        compiler: llama.cpp has to be built, with the compilers named in CC and CXX, or the usual ones.
        environ: names the compilers and the path on which they are searched.

    Raises:
        SetupFailed: something is missing; the text ends with the one command that installs all of it.
    """
    facts: list[str] = []
    packages: list[str] = []
    if venv and any(importlib.util.find_spec(module) is None for module in ("venv", "ensurepip")):
        facts.append("Python's venv module is missing")
        packages.append("python3-venv")
    if compiler and (missing := _missing_compilers(environ)):
        facts.append(f"building llama.cpp needs a C and a C++ compiler, and there is no {' and no '.join(missing)}")
        packages.append("g++")
    if facts:
        raise SetupFailed(f"{'; '.join(facts)}: sudo apt install {' '.join(packages)}")


def _missing_compilers(environ: Mapping[str, str]) -> list[str]:
    path = environ.get("PATH", os.defpath)
    missing = []
    for variable, usual in (("CC", _C_COMPILERS), ("CXX", _CXX_COMPILERS)):
        names = (environ[variable].split()[0],) if environ.get(variable, "").strip() else usual
        if not any(shutil.which(name, path=path) for name in names):
            missing.append(" or ".join(names))
    return missing


def remedy_for(log: str) -> str | None:
    """Read from a failed build's output what would have cured it."""
    if "Python.h" in log:
        return "Python's header files are missing: sudo apt install python3-dev"
    if "libcuda.so.1: cannot open" in log:
        return (
            "llama.cpp was built for CUDA, and this machine has no NVIDIA driver to load it with: install the driver "
            "(sudo apt install nvidia-driver), or build for the processor: LLAMACTOR_BUILD=cpu"
        )
    if "No space left on device" in log:
        return "the disk is full: building llama.cpp needs about 2 GB in $TMPDIR (or /tmp)"
    if "Killed signal terminated program" in log:
        return "the compiler was killed, most likely for memory: try again with CMAKE_BUILD_PARALLEL_LEVEL=1"
    return None
