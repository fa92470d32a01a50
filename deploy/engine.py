"""The llama-cpp-python wheel: built once from its source for this machine's own processor, then kept.

Our own kernels (deploy/kernels) are compiled into it; `LLAMACTOR_KERNELS=off` builds llama.cpp as it comes.

A wheel's folder in the cache is named by everything that decides its content: version, CMake options, kernels, Python
ABI, C library, processor features and, for CUDA, the compiler. So a second checkout, or a return to an earlier variant,
finds it built, and a home folder shared by different machines never offers one machine's code to another.
"""

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from deploy import cuda, requisites
from deploy.folders import ROOT, cache_folder
from deploy.processor import flags_against_false_features
from deploy.report import Progress, SetupFailed, say

VARIANTS = {
    "cpu": "",
    "cuda": "-DGGML_CUDA=on",
    "rocm": "-DGGML_HIP=on",
    "metal": "-DGGML_METAL=on",
    "vulkan": "-DGGML_VULKAN=on",
}
_NINJA_STEP = re.compile(r"\[(\d+)/(\d+)\] ")
_TAIL_LINES = 30
_KERNELS = ROOT / "deploy/kernels"


@dataclass(frozen=True, slots=True)
class Build:
    """One way of building llama-cpp-python."""

    version: str
    variant: str
    cmake_args: str
    compiler: str
    """What the CUDA compiler says of itself; empty otherwise."""
    kernels: str = ""
    """The digest of our kernels' sources; empty without them."""

    def key(self, cpuinfo: str) -> str:
        """Name the wheel that this build gives on a machine with this /proc/cpuinfo."""
        facts = {
            "version": self.version,
            "cmake_args": self.cmake_args,
            "compiler": self.compiler,
            "abi": sysconfig.get_config_var("SOABI"),
            "machine": platform.machine(),
            "libc": platform.libc_ver(),
            "cpu": cpu_features(cpuinfo),
        }
        if self.kernels:
            facts["kernels"] = self.kernels
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def build_from(environ: Mapping[str, str] = os.environ) -> Build:
    """Read from the environment which build is wanted.

    Raises:
        SetupFailed: LLAMACTOR_BUILD or LLAMACTOR_KERNELS is unknown, or a compiler is missing.
    """
    variant = environ.get("LLAMACTOR_BUILD") or "cpu"
    if variant not in VARIANTS:
        raise SetupFailed(f"LLAMACTOR_BUILD={variant} is unknown: use one of {', '.join(VARIANTS)}")
    cmake_args = ["-DGGML_NATIVE=ON", VARIANTS[variant]]
    compiler = ""
    if variant == "cuda":
        nvcc = cuda.cuda_compiler(environ)
        cmake_args += cuda.cmake_args(nvcc, environ)
        compiler = cuda.compiler_version(nvcc)
    if flags := flags_against_false_features(this_cpuinfo(), compiler=shutil.which("cc") or shutil.which("gcc")):
        cmake_args += [f"-DCMAKE_C_FLAGS='{flags}'", f"-DCMAKE_CXX_FLAGS='{flags}'"]
    cmake_args.append(environ.get("CMAKE_ARGS", ""))
    kernels = environ.get("LLAMACTOR_KERNELS") or "on"
    if kernels not in {"on", "off"}:
        raise SetupFailed(f"LLAMACTOR_KERNELS={kernels} is unknown: use on or off")
    return Build(
        version=pinned_version("llama_cpp_python"),
        variant=variant,
        cmake_args=" ".join(part for part in cmake_args if part),
        compiler=compiler,
        kernels=kernels_digest() if kernels == "on" else "",
    )


def kernels_digest() -> str:
    """Give the digest of our kernels' sources, which changes with any of them."""
    digest = hashlib.sha256()
    for path in sorted(_KERNELS.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def pinned_version(name: str) -> str:
    """Give the version that constraints.txt pins for a distribution."""
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith(f"{name}=="):
            return line.partition("==")[2].strip()
    raise SetupFailed(f"constraints.txt does not pin {name}")


def cpu_features(cpuinfo: str) -> str:
    """Give the feature list of the first processor (`flags` on x86, `Features` on ARM), sorted."""
    for line in cpuinfo.splitlines():
        label, _, value = line.partition(":")
        if label.strip() in {"flags", "Features"}:
            return " ".join(sorted(value.split()))
    return platform.processor()


def this_cpuinfo() -> str:
    """Read /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def built_wheel(build: Build) -> Path | None:
    """Give the wheel of this build if the cache has it."""
    return next(iter(sorted(_wheel_folder(build).glob("llama_cpp_python-*.whl"))), None)


def wheel_for(build: Build, *, python: Path) -> Path:
    """Give the wheel of this build, building it first where the cache has none.

    Raises:
        SetupFailed: it cannot be built; the text ends with the log's last lines.
    """
    folder = _wheel_folder(build)
    if found := built_wheel(build):
        say(f"using the llama.cpp that was built earlier ({build.variant})")
        return found
    folder.parent.mkdir(parents=True, exist_ok=True)
    say(f"building llama.cpp for this machine ({build.variant}); this takes some minutes, once")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as scratch:
        wheel = _build(build, python=python, into=Path(scratch))
        folder.mkdir(exist_ok=True)
        return Path(shutil.move(wheel, folder / wheel.name))


def _wheel_folder(build: Build) -> Path:
    return cache_folder() / "wheels" / build.key(this_cpuinfo())


def _build(build: Build, *, python: Path, into: Path) -> Path:
    log_path = cache_folder() / "build.log"
    constraints = str(ROOT / "constraints.txt")
    cmake_args = build.cmake_args
    if build.kernels:
        cmake_args += " " + shlex.quote(f"-DCMAKE_PROJECT_ggml_INCLUDE={_KERNELS / 'kernels.cmake'}")
    environ = os.environ | {
        "CMAKE_ARGS": cmake_args,
        "PIP_CONSTRAINT": constraints,
        "PIP_BUILD_CONSTRAINT": constraints,  # newer pips no longer apply the one above to the build environment
    }
    command = [str(python), "-m", "pip", "wheel", "--verbose", "--no-deps", "--no-cache-dir"]
    command += ["--no-binary", "llama-cpp-python", "--wheel-dir", str(into), f"llama-cpp-python=={build.version}"]
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as pip,
    ):
        follow(pip.stdout or (), log)
    wheels = sorted(into.glob("*.whl"))
    if pip.returncode or not wheels:
        raise SetupFailed(build_failure(log_path))
    return wheels[0]


def follow(output: Iterable[str], log: TextIO) -> None:
    """Copy a build's output to its log, showing the steps that ninja counts as progress."""
    progress = Progress("building llama.cpp")
    for line in output:
        log.write(line)
        if step := _NINJA_STEP.search(line[:40]):
            progress.show(int(step[1]), int(step[2]))
    progress.close()


def build_failure(log_path: Path) -> str:
    """Say why a build failed: the remedy where it is known, and the end of the log."""
    log = log_path.read_text(errors="replace")
    tail = "\n".join(log.splitlines()[-_TAIL_LINES:])
    remedy = requisites.remedy_for(log)
    reason = remedy or "building llama.cpp failed"
    return f"{reason}\nThe end of {log_path}:\n{tail}"
