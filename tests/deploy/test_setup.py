"""Tests of the set-up as programs: the interpreter it starts from, its lock, its errors."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.folders import ROOT, cache_folder

_TIMEOUT_S = 60


def _program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def _setup(environ: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(ROOT / "deploy" / "setup.sh"), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)


def test_setup_with_an_old_python_only_says_what_it_needs(tmp_path: Path) -> None:
    """A Python that is too old is named, with the way to a newer one."""
    _program(tmp_path, "dirname", 'exec /usr/bin/dirname "$@"')
    _program(tmp_path, "python3", '[ "$1" = --version ] && echo Python 3.9.2 && exit 0; exit 1')
    done = _setup({"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "needs Python 3.11 or newer, and this machine has Python 3.9.2" in done.stderr
    assert "sudo apt install" in done.stderr


def test_setup_takes_the_first_python_that_is_new_enough(tmp_path: Path) -> None:
    """An old python3 does not hide a newer interpreter beside it."""
    _program(tmp_path, "dirname", 'exec /usr/bin/dirname "$@"')
    _program(tmp_path, "python3", "exit 1")
    _program(tmp_path, "python3.12", f'exec {sys.executable} "$@"')
    done = _setup({"PATH": str(tmp_path), "HOME": str(tmp_path), "LLAMACTOR_BUILD": "nonsense"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: LLAMACTOR_BUILD=nonsense is unknown")


def test_setup_without_compiler_names_the_package(tmp_path: Path) -> None:
    """On a machine without g++, nothing is built and one line tells the cure."""
    _program(tmp_path, "dirname", 'exec /usr/bin/dirname "$@"')
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHON": sys.executable, "PIP_NO_INDEX": "1"}
    done = _setup(environ, "--venv", str(tmp_path / "venv"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(": sudo apt install g++\n")


def test_setup_waits_for_another_one(tmp_path: Path) -> None:
    """Two set-ups of one user do not tread on each other."""
    environ = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    program = "from deploy.folders import sole_setup\nwith sole_setup(): print('mine', flush=True)"
    lock_path = tmp_path / "llamactor" / "setup.lock"
    lock_path.parent.mkdir()
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "setup: another set-up of llamactor is running; waiting for it\n"
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert other.stdout.read() == "mine\n"


def test_cache_folder_follows_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CACHE_HOME is respected, its default is ~/.cache."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "llamactor"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "llamactor"
