"""The llama-server binary: given, found in the cache, or built once from the source of our own wheel.

It comes from the source distribution of llama-cpp-python that the wheel was built from, with the wheel's CMake options,
so that both run the same llama.cpp, compiled alike, but for our kernels: the peer is llama.cpp as it comes.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

from deploy import engine, requisites
from deploy.folders import ROOT, cache_folder, sole_setup
from deploy.report import SetupFailed, say
from tests.benchmarks.errors import NotMeasured

_NAME = "llama-server"
_OPTIONS = [
    "-GNinja",
    "-DCMAKE_BUILD_TYPE=Release",  # what scikit-build-core chooses for the wheel
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # or the build would download a web page
]


def llama_server() -> Path:
    """Give the path of llama-server: `LLAMA_SERVER`, else the cache's, else a fresh one.

    Raises:
        NotMeasured: `LLAMA_SERVER` names no program, or it cannot be built.
    """
    given = os.environ.get("LLAMA_SERVER")
    if given:
        if not os.access(given, os.X_OK):
            raise NotMeasured(f"LLAMA_SERVER={given} is not a program")
        return Path(given)
    try:
        build = replace(engine.build_from(), kernels="")
        folder = cache_folder() / _NAME / build.key(engine.this_cpuinfo())
        with sole_setup():
            if not (folder / _NAME).exists():
                _build(build, folder)
    except SetupFailed as error:
        raise NotMeasured(f"llama-server cannot be built: {error}") from error
    return folder / _NAME


def version_of(binary: Path) -> str:
    """Give the first line of what llama-server says of its own version."""
    done = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).partition("\n")[0]


def _build(build: engine.Build, folder: Path) -> None:
    requisites.require(venv=False, compiler=True)
    say(f"building llama-server with the options of our own llama.cpp ({build.variant}); this takes some minutes, once")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as scratch:
        source = _source(build, Path(scratch))
        tools = Path(scratch) / "tools"
        _pip("install", "--target", str(tools), "cmake", "ninja")
        environ = os.environ | {"PYTHONPATH": str(tools)}
        cmake = [sys.executable, str(tools / "bin" / "cmake")]
        binaries = Path(scratch) / "build"
        log_path = cache_folder() / "llama-server-build.log"
        configure = [*cmake, "-S", str(source), "-B", str(binaries), f"-DCMAKE_MAKE_PROGRAM={tools / 'bin' / 'ninja'}"]
        _run_logged([*configure, *_OPTIONS, *shlex.split(build.cmake_args)], environ, log_path)
        _run_logged([*cmake, "--build", str(binaries), "--target", _NAME], environ, log_path)
        folder.mkdir(exist_ok=True)
        shutil.move(binaries / "bin" / _NAME, folder / _NAME)


def _source(build: engine.Build, scratch: Path) -> Path:
    wanted = f"llama-cpp-python=={build.version}"
    _pip("download", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(scratch), wanted)
    with tarfile.open(next(scratch.glob("llama_cpp_python-*.tar.gz"))) as archive:
        archive.extractall(scratch, filter="data")
    return next(scratch.glob("llama_cpp_python-*/vendor/llama.cpp"))


def _pip(*arguments: str) -> None:
    constraints = str(ROOT / "constraints.txt")
    environ = os.environ | {"PIP_CONSTRAINT": constraints, "PIP_BUILD_CONSTRAINT": constraints}
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupFailed(f"`pip {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}".rstrip())


def _run_logged(command: list[str], environ: dict[str, str], log_path: Path) -> None:
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with (
        log_path.open("a") as log,
        subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as program,
    ):
        engine.follow(program.stdout or (), log)
    if program.returncode:
        raise SetupFailed(engine.build_failure(log_path))
