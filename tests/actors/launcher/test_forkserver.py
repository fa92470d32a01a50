"""Tests of the environment that the forkserver gives to runners."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.launcher.forkserver import _ENVIRON

_ABORT = """
import ctypes
from pathlib import Path
import llama_cpp
folder = Path(llama_cpp.__file__).parent / "lib"
ctypes.CDLL(str(next(folder.glob("libggml-base.so*")))).ggml_abort(b"file.c", 1, b"why")
"""


@pytest.mark.parametrize(("environ", "is_debugged"), [({}, True), (_ENVIRON, False)])
def test_failed_assertion_of_llama_cpp_ends_the_runner_at_once(
    tmp_path: Path, environ: dict[str, str], *, is_debugged: bool
) -> None:
    """No debugger is started on it, as it would be by default, so that its death is known without delay."""
    debugger = tmp_path / "gdb"
    debugger.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    debugger.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", _ABORT], env={"PATH": f"{tmp_path}:/usr/bin:/bin", **environ},
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGABRT
    assert b"file.c:1: why" in done.stderr
    assert (tmp_path / "started").exists() == is_debugged
