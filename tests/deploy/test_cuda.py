"""Tests of the search for NVIDIA's compiler and cards, with stand-in programs."""

from pathlib import Path

import pytest

from deploy import cuda
from deploy.report import SetupFailed


def _program(folder: Path, name: str, text: str = "") -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_cuda_compiler_is_searched_by_name_then_on_the_path(tmp_path: Path) -> None:
    """CUDACXX comes before the PATH; a missing one is named."""
    _program(tmp_path, "nvcc")
    _program(tmp_path, "mine")
    assert cuda.cuda_compiler({"PATH": str(tmp_path)}) == tmp_path / "nvcc"
    assert cuda.cuda_compiler({"PATH": str(tmp_path), "CUDACXX": "mine"}) == tmp_path / "mine"
    with pytest.raises(SetupFailed, match="/gone/nvcc was not found"):
        cuda.cuda_compiler({"PATH": str(tmp_path), "CUDACXX": "/gone/nvcc"})


def test_architectures_are_those_of_the_cards_here(tmp_path: Path) -> None:
    """Each generation once, so that a build takes no longer than it must."""
    _program(tmp_path, "nvidia-smi", "printf '9.0\\n8.6\\n9.0\\n'")
    assert cuda.architectures({"PATH": str(tmp_path)}) == "86;90"


def test_architectures_without_a_card_are_all(tmp_path: Path) -> None:
    """A build for other machines, or a driver that does not answer, covers every generation."""
    assert cuda.architectures({"PATH": str(tmp_path)}) == cuda.EVERY_GENERATION
    _program(tmp_path, "nvidia-smi", "echo 'No devices were found'; exit 6")
    assert cuda.architectures({"PATH": str(tmp_path)}) == cuda.EVERY_GENERATION


def test_cmake_args_name_the_toolkit_of_a_compiler_behind_a_link(tmp_path: Path) -> None:
    """A link in a folder of programs leads to the toolkit, whose libraries are found again at run time."""
    (tmp_path / "cuda" / "bin").mkdir(parents=True)
    (tmp_path / "cuda" / "lib64").mkdir()
    (tmp_path / "cuda" / "lib64" / "libcudart.so").touch()
    _program(tmp_path / "cuda" / "bin", "nvcc")
    link = tmp_path / "nvcc"
    link.symlink_to(tmp_path / "cuda" / "bin" / "nvcc")
    options = cuda.cmake_args(link, {"PATH": str(tmp_path)})
    assert f"-DCUDAToolkit_ROOT={tmp_path}/cuda" in options
    assert f"-DCMAKE_SHARED_LINKER_FLAGS=-Wl,-rpath,{tmp_path}/cuda/lib64" in options
