"""The child's side of `child`: read the order, carry it out, report."""

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec

from actors.errors import LlamactorError
from registry.workshop.child import Report

T = TypeVar("T")
_LONGEST_ORDER_BYTES = 4 << 20
_NICENESS = 5
_ABANDONED = 3


class Tell:
    """Reports to the parent."""

    def __call__(self, completed: int, total: int) -> None:
        """Tell how much of how much is done."""
        _say(Report(completed=completed, total=total))

    def note(self, text: str) -> None:
        """Tell what the user should know."""
        _say(Report(note=text))


def carry_out(kind: type[T], work: Callable[[T, Tell], None]) -> int:
    """Carry out the order that comes on standard input; give the exit status of the process."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(_LONGEST_ORDER_BYTES), type=kind)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(_NICENESS)  # answers go first
    try:
        work(order, Tell())
    except LlamactorError as error:
        _say(Report(error=error.message))
    except MemoryError:
        _say(Report(error="there is not enough memory for it"))
    except OSError as error:
        _say(Report(error=f"{error.filename or 'a file'}: {error.strerror or error}"))
    except Exception as error:  # noqa: BLE001 - files that others made can raise anything; the parent tells it
        _say(Report(error=f"{type(error).__name__}: {error}"))
    else:
        return 0
    return 1


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not through the buffer, whose lock the interpreter takes as it ends
        pass
    os._exit(_ABANDONED)


def _say(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()
