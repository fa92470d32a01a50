"""A child process that makes one file: given its order, followed by its reports, ended with whoever follows it.

Converting and quantizing take long, much memory, and native code over files that others made. So each job has a process
of its own. The order is one line of JSON on its standard input, which stays open: a child ends when that closes, so no
child outlives its parent, whatever thread started it. Reports are lines of JSON on its standard output.
"""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import msgspec

from actors.errors import ConversionFailed

_SILENCE_S = 900.0
"""A child that reports nothing for so long is given up; the largest tensors take a minute."""
_TICK_S = 1.0
_LONGEST_REPORT_BYTES = 64 << 10
_ROOT = Path(__file__).parents[2]


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a child is, in units of its own, what its user should know, or why it failed."""

    completed: int = 0
    total: int = 0
    note: str = ""
    error: str = ""


def reports(module: str, order: msgspec.Struct) -> Generator[Report, None, None]:
    """Have a module carry out an order; give its reports, and the last one again each second that it is silent.

    Closing the generator kills the child.

    Raises:
        ConversionFailed: the child said so, died or fell silent.
    """
    # Not a daemon thread's business: a death signal would fire when the worker thread ends that is running this.
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(_ROOT), os.environ.get("PYTHONPATH", "")))},
    )
    try:
        if child.stdin is None or child.stdout is None:
            raise ConversionFailed("its process has no pipes")
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(msgspec.json.encode(order) + b"\n")
            child.stdin.flush()
        last = Report()
        for line in _lines(child.stdout.fileno()):
            last = msgspec.json.decode(line, type=Report) if line else last
            if last.error:
                raise ConversionFailed(last.error)
            yield last
        status = child.wait(_SILENCE_S)
        if status:
            raise ConversionFailed(f"its process ended with {_ending(status)}")
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _lines(descriptor: int) -> Iterator[bytes]:
    """Give lines as they come, and an empty one after each second without any."""
    held = b""
    heard = time.monotonic()
    while True:
        readable, _, _ = select.select([descriptor], [], [], _TICK_S)
        if not readable:
            if time.monotonic() - heard > _SILENCE_S:
                raise ConversionFailed(f"its process said nothing for {_SILENCE_S:g} s")
            yield b""
            continue
        heard = time.monotonic()
        chunk = os.read(descriptor, _LONGEST_REPORT_BYTES)
        if not chunk:
            return
        *lines, held = (held + chunk).split(b"\n")
        if len(held) > _LONGEST_REPORT_BYTES:
            raise ConversionFailed("its process reports at unreasonable length")
        yield from (line for line in lines if line)


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
