"""Tests of what a machine must bring along, with PATHs that lack it."""

import sys
from pathlib import Path

import pytest

from deploy import requisites
from deploy.report import SetupFailed


def _program(folder: Path, name: str) -> None:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def test_require_without_compiler_names_the_package(tmp_path: Path) -> None:
    """A bare machine learns which package to install."""
    with pytest.raises(SetupFailed, match=r"no cc or gcc or clang and no c\+\+ or .*: sudo apt install g\+\+$"):
        requisites.require(venv=True, compiler=True, environ={"PATH": str(tmp_path)})


def test_require_wants_both_languages(tmp_path: Path) -> None:
    """A C++ compiler alone is not enough."""
    _program(tmp_path, "g++")
    with pytest.raises(SetupFailed, match="there is no cc or gcc or clang: sudo"):
        requisites.require(venv=True, compiler=True, environ={"PATH": str(tmp_path)})
    _program(tmp_path, "cc")
    requisites.require(venv=True, compiler=True, environ={"PATH": str(tmp_path)})


def test_require_respects_the_users_choice(tmp_path: Path) -> None:
    """CXX names the one that must be there, arguments and all."""
    _program(tmp_path, "g++")
    _program(tmp_path, "cc")
    with pytest.raises(SetupFailed, match="there is no mycc: sudo"):
        requisites.require(venv=True, compiler=True, environ={"PATH": str(tmp_path), "CXX": "mycc -O2"})


def test_require_names_everything_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's bare Python lacks venv, too; one command installs all."""
    monkeypatch.setitem(sys.modules, "ensurepip", None)  # which is how Debian's Python looks without python3-venv
    with pytest.raises(SetupFailed, match=r"Python's venv module is missing; .*: sudo apt install python3-venv g\+\+$"):
        requisites.require(venv=True, compiler=True, environ={"PATH": "/nowhere"})


@pytest.mark.parametrize(
    ("log", "remedy"),
    [
        ("fatal error: Python.h: No such file or directory", "sudo apt install python3-dev"),
        ("OSError: libcuda.so.1: cannot open shared object file: No such file", "sudo apt install nvidia-driver"),
        ("cc1plus: error: No space left on device", "disk is full"),
        ("g++: fatal error: Killed signal terminated program cc1plus", "CMAKE_BUILD_PARALLEL_LEVEL=1"),
    ],
)
def test_remedy_for_known_failures_is_one_line(log: str, remedy: str) -> None:
    """What a build log gives away is turned into what to do."""
    found = requisites.remedy_for(log)
    assert found is not None
    assert remedy in found


def test_remedy_for_unknown_failure_is_none() -> None:
    """Nothing is guessed."""
    assert requisites.remedy_for("error: something else") is None
