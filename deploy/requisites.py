"""What the machine must bring along, and the one line that supplies what is missing."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from deploy.report import SetupFailed

_CUDA_COMPILER = Path("/usr/local/cuda/bin/nvcc")
_CXX_COMPILERS = ("c++", "g++", "clang++")
_C_COMPILERS = ("cc", "gcc", "clang")


def require_venv() -> None:
    """Check that virtual environments can be made.

    Raises:
        SetupFailed: Debian's split-off package is not installed.
    """
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupFailed("Python's venv module is missing: sudo apt install python3-venv")


def require_compiler(environ: Mapping[str, str] = os.environ) -> None:
    """Check that a C and a C++ compiler are there, those named in CC and CXX first.

    Raises:
        SetupFailed: one is not.
    """
    path = environ.get("PATH", os.defpath)
    for variable, names, language in (("CXX", _CXX_COMPILERS, "C++"), ("CC", _C_COMPILERS, "C")):
        wanted = (environ[variable].split()[0],) if environ.get(variable, "").strip() else names
        if not any(shutil.which(name, path=path) for name in wanted):
            raise SetupFailed(
                f"no {language} compiler found (looked for {', '.join(wanted)}), which building llama.cpp needs: "
                "sudo apt install g++"
            )


def cuda_compiler(environ: Mapping[str, str] = os.environ) -> Path:
    """Find NVIDIA's compiler: CUDACXX, then the PATH, then the toolkit's usual folder.

    Raises:
        SetupFailed: there is none.
    """
    named = environ.get("CUDACXX")
    found = shutil.which(named or "nvcc", path=environ.get("PATH", os.defpath))
    if found:
        return Path(found)
    if not named and os.access(_CUDA_COMPILER, os.X_OK):
        return _CUDA_COMPILER
    raise SetupFailed(
        f"LLAMACTOR_BUILD=cuda needs NVIDIA's compiler, and {named or 'nvcc'} was not found: install the CUDA toolkit "
        "(sudo apt install nvidia-cuda-toolkit, or NVIDIA's own package), or name it: CUDACXX=/path/to/nvcc"
    )


def remedy_for(log: str) -> str | None:
    """Read from a failed build's output what would have cured it."""
    if "Python.h" in log:
        return "Python's header files are missing: sudo apt install python3-dev"
    if "No space left on device" in log:
        return "the disk is full: building llama.cpp needs about 2 GB in $TMPDIR (or /tmp)"
    if "Killed signal terminated program" in log:
        return "the compiler was killed, most likely for memory: try again with CMAKE_BUILD_PARALLEL_LEVEL=1"
    return None
