"""Starts the entry of a runner or renderer in a process of its own, without a launcher."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import msgspec

from actors.codec import encode

_PROGRAM = (
    "import sys, importlib; from multiprocessing.connection import Connection; "
    "importlib.import_module(sys.argv[1]).main(Connection(int(sys.argv[2])))"
)
_END_DEADLINE_S = 60


@contextlib.contextmanager
def running_entry(module: str, assignment: msgspec.Struct) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `module.main(pipe)` with the assignment in its pipe; kill it at the end of the block."""
    near, far = Pipe()
    assert isinstance(far, Connection)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", _PROGRAM, module, str(far.fileno())]
    with near, subprocess.Popen(command, pass_fds=[far.fileno()], env=environ) as process:
        far.close()
        near.send_bytes(encode(assignment))
        try:
            yield process
        finally:
            process.kill()
            process.wait(_END_DEADLINE_S)
