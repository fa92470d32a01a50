"""NVIDIA's compiler, and which generations of graphics cards to compile for."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.report import SetupFailed

_USUAL_COMPILER = Path("/usr/local/cuda/bin/nvcc")
_SYSTEM = Path("/usr")
_CAPABILITY = re.compile(r"(\d+)\.(\d+)")
_LIMIT_S = 60
EVERY_GENERATION = "all-major"
"""CMake's word for it; such a build takes several times as long."""


def cuda_compiler(environ: Mapping[str, str] = os.environ) -> Path:
    """Find NVIDIA's compiler: CUDACXX, then the PATH, then the toolkit's usual folder.

    Raises:
        SetupFailed: there is none.
    """
    named = environ.get("CUDACXX")
    found = shutil.which(named or "nvcc", path=environ.get("PATH", os.defpath))
    if found:
        return Path(found)
    if not named and os.access(_USUAL_COMPILER, os.X_OK):
        return _USUAL_COMPILER
    raise SetupFailed(
        f"LLAMACTOR_BUILD=cuda needs NVIDIA's compiler, and {named or 'nvcc'} was not found: install the CUDA toolkit "
        "(sudo apt install nvidia-cuda-toolkit, or NVIDIA's own package), or name it: CUDACXX=/path/to/nvcc"
    )


def compiler_version(nvcc: Path) -> str:
    """Give what the compiler says of itself, which decides the code it makes."""
    done = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    return done.stdout


def cmake_args(nvcc: Path, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Give the options that make CMake use this compiler, the rest of its toolkit, and the cards that are here.

    CMake looks for the toolkit before it looks at the compiler's name, so the folder is named, too. The libraries are
    found there again when they are loaded: toolkits beside the system's folders are not always known to its loader.
    """
    toolkit = nvcc.resolve().parent.parent
    folders = [folder for folder in (toolkit / "lib64", toolkit / "lib") if (folder / "libcudart.so").exists()]
    options = [f"-DCMAKE_CUDA_COMPILER={nvcc}", f"-DCUDAToolkit_ROOT={toolkit}"]
    options.append(f"'-DCMAKE_CUDA_ARCHITECTURES={architectures(environ)}'")
    if folders and toolkit != _SYSTEM:
        options.append(f"-DCMAKE_SHARED_LINKER_FLAGS=-Wl,-rpath,{folders[0]}")
    return options


def architectures(environ: Mapping[str, str] = os.environ) -> str:
    """Give CMake's list of the generations to compile for: the cards that are here, or every one where none is."""
    asked = shutil.which("nvidia-smi", path=environ.get("PATH", os.defpath))
    if asked is None:
        return EVERY_GENERATION
    command = [asked, "--query-gpu=compute_cap", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    found = sorted({int(major + minor) for major, minor in _CAPABILITY.findall(done.stdout)})
    return ";".join(str(generation) for generation in found) or EVERY_GENERATION
