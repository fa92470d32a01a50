"""Other programs that take all the processor they get."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

_PROGRAM = "import signal; signal.alarm(600)\nwhile True: pass"
"""Ends by itself when the test was killed and nobody ends it."""


@contextlib.contextmanager
def spinners(count: int) -> Iterator[None]:
    """Run so many of them beside a block."""
    command = [sys.executable, "-S", "-c", _PROGRAM]
    processes = [subprocess.Popen(command, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
