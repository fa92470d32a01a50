"""Tests of the engine build: what decides the wheel, its progress and its failures."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import engine
from deploy.engine import Build
from deploy.report import SetupFailed

_X86 = "processor\t: 0\nflags\t\t: fpu sse4_2 avx2\n\nprocessor\t: 1\nflags\t\t: fpu\n"
_BUILD = Build(version="0.3.36", variant="cpu", cmake_args="-DGGML_NATIVE=ON", compiler="")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep away from the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "llamactor"


def test_key_is_the_same_for_the_same_build() -> None:
    """A second checkout on one machine finds the first one's wheel."""
    assert _BUILD.key(_X86) == replace(_BUILD).key(_X86)


@pytest.mark.parametrize(
    ("build", "cpuinfo"),
    [
        (replace(_BUILD, version="0.3.37"), _X86),
        (replace(_BUILD, cmake_args="-DGGML_NATIVE=ON -DGGML_CUDA=on"), _X86),
        (replace(_BUILD, compiler="release 12.9"), _X86),
        (replace(_BUILD, kernels="digest"), _X86),
        (_BUILD, _X86.replace("avx2", "avx2 avx512f")),
    ],
)
def test_key_differs_for_whatever_changes_the_code(build: Build, cpuinfo: str) -> None:
    """Version, options, compiler and processor each make another wheel."""
    assert build.key(cpuinfo) != _BUILD.key(_X86)


def test_cpu_features_of_each_architecture_are_sorted() -> None:
    """The order in which a kernel lists features does not matter; ARM calls them by another name."""
    assert engine.cpu_features(_X86) == "avx2 fpu sse4_2"
    assert engine.cpu_features("Features\t: sve asimd\n") == "asimd sve"


def test_build_from_environment_appends_the_users_cmake_args() -> None:
    """The user's own options come last, so that they win."""
    build = engine.build_from({"LLAMACTOR_BUILD": "vulkan", "CMAKE_ARGS": "-DGGML_NATIVE=OFF"})
    assert build.variant == "vulkan"
    assert build.cmake_args.startswith("-DGGML_NATIVE=ON -DGGML_VULKAN=on")
    assert build.cmake_args.endswith(" -DGGML_NATIVE=OFF")


def test_build_from_environment_takes_our_kernels_along_unless_told_not_to() -> None:
    """A change of a kernel makes another wheel; llama.cpp as it comes has the key it had before there were any."""
    assert engine.build_from({}).kernels == engine.kernels_digest()
    assert engine.build_from({"LLAMACTOR_KERNELS": "off"}).kernels == ""
    with pytest.raises(SetupFailed, match="LLAMACTOR_KERNELS=no is unknown: use on or off"):
        engine.build_from({"LLAMACTOR_KERNELS": "no"})


def test_build_from_unknown_variant_names_the_known_ones() -> None:
    """A slip in LLAMACTOR_BUILD is one clear error."""
    with pytest.raises(SetupFailed, match="LLAMACTOR_BUILD=cudaa is unknown: use one of cpu, cuda, rocm"):
        engine.build_from({"LLAMACTOR_BUILD": "cudaa"})


def test_build_from_environment_for_cuda_names_its_compiler(tmp_path: Path) -> None:
    """CMake is told which nvcc and which toolkit, and the wheel is bound to its version."""
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text("#!/bin/sh\necho Cuda compilation tools, release 12.9\n")
    nvcc.chmod(0o755)
    build = engine.build_from({"LLAMACTOR_BUILD": "cuda", "CUDACXX": str(nvcc), "PATH": "/nowhere"})
    assert f"-DGGML_CUDA=on -DCMAKE_CUDA_COMPILER={nvcc} -DCUDAToolkit_ROOT={tmp_path} " in build.cmake_args
    assert "'-DCMAKE_CUDA_ARCHITECTURES=all-major'" in build.cmake_args
    assert build.compiler == "Cuda compilation tools, release 12.9\n"


def test_wheel_for_a_built_engine_is_taken_from_the_cache(cache: Path) -> None:
    """What was built is not built again."""
    folder = cache / "wheels" / _BUILD.key(engine.this_cpuinfo())
    folder.mkdir(parents=True)
    wheel = folder / "llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl"
    wheel.touch()
    assert engine.wheel_for(_BUILD, python=Path("/nowhere/python")) == wheel


def test_wheel_for_a_failing_build_shows_the_end_of_its_log(cache: Path, tmp_path: Path) -> None:
    """A build that fails leaves no wheel, and tells why."""
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\necho '[1/2] compiling'\necho 'fatal error: Python.h: No such file or directory'\nexit 1\n"
    )
    python.chmod(0o755)
    with pytest.raises(
        SetupFailed, match=r"(?s)sudo apt install python3-dev.*\[1/2\] compiling\nfatal error"
    ) as failure:
        engine.wheel_for(_BUILD, python=python)
    assert str(cache / "build.log") in str(failure.value)
    assert [path.name for path in (cache / "wheels").iterdir()] == []


def test_follow_counts_ninja_steps_and_keeps_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal, progress is one line for each tenth; the log has every line."""
    lines = ["configuring\n", *(f"  [{step}/50] cc -o x\n" for step in range(1, 51)), "  see [1/1] elsewhere\n"]
    log = io.StringIO()
    engine.follow(lines, log)
    shown = capsys.readouterr().out.splitlines()
    assert log.getvalue() == "".join(lines)
    assert shown[:2] == ["setup: building llama.cpp   2 % (1/50)", "setup: building llama.cpp  10 % (5/50)"]
    assert shown[10] == "setup: building llama.cpp 100 % (50/50)"
