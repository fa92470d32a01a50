"""Tests of the probe for features that a processor announces and does not have."""

from pathlib import Path

import pytest

from deploy.processor import flags_against_false_features

_WITH_AMX = "model name\t: x\nflags\t\t: fpu amx_tile amx_int8\n"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep away from the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _compiler(folder: Path, *, program_status: int) -> str:
    """A stand-in compiler whose programs end with a status."""
    path = folder / "cc"
    path.write_text(
        f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nprintf \'#!/bin/sh\\nexit {program_status}\\n\' > "$2"\n'
        'chmod +x "$2"\n'
    )
    path.chmod(0o755)
    return str(path)


def test_flags_of_a_processor_without_amx_are_none() -> None:
    """Nothing is tried where nothing is announced."""
    assert flags_against_false_features("flags\t: fpu avx2\n", compiler="/nowhere/cc") == ""


def test_flags_of_a_processor_that_traps_leave_amx_out(tmp_path: Path) -> None:
    """A program that fails means no AMX, and the answer is kept."""
    compiler = _compiler(tmp_path, program_status=1)
    assert "-mno-amx-tile" in flags_against_false_features(_WITH_AMX, compiler=compiler)
    assert "-mno-amx-tile" in flags_against_false_features(_WITH_AMX, compiler=None)


def test_flags_of_a_processor_that_works_are_none(tmp_path: Path) -> None:
    """A program that runs means that AMX may be used."""
    assert flags_against_false_features(_WITH_AMX, compiler=_compiler(tmp_path, program_status=0)) == ""


def test_flags_without_a_compiler_are_not_kept(tmp_path: Path) -> None:
    """What could not be tried is tried again once there is a compiler."""
    assert flags_against_false_features(_WITH_AMX, compiler=None) == ""
    assert flags_against_false_features(_WITH_AMX, compiler=_compiler(tmp_path, program_status=1)) != ""
