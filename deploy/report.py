"""What set-up tells its user: steps, the progress of a long one, and the one error that ends it."""

import sys
from typing import TextIO

_STEP_PERCENT = 10  # off a terminal, one line for each so many percent


class SetupFailed(Exception):
    """Set-up cannot go on; the text names the fact and the remedy."""


def say(text: str) -> None:
    """Print one step."""
    sys.stdout.write(f"setup: {text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print the error that ends everything."""
    sys.stderr.write(f"Error: {text}\n")


class Progress:
    """One line that counts up: rewritten in place on a terminal, a line every ten percent elsewhere."""

    def __init__(self, label: str, *, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = stream or sys.stdout
        self._in_place = self._stream.isatty()
        self._last_step = -1
        self._is_open = False

    def show(self, done: int, total: int) -> None:
        """Show that `done` of `total` is done."""
        percent = 100 * done // max(total, 1)
        step = percent if self._in_place else percent // _STEP_PERCENT
        if step == self._last_step:
            return
        self._last_step = step
        line = f"setup: {self._label} {percent:3d} % ({done}/{total})"
        self._stream.write(f"\r\x1b[K{line}" if self._in_place else f"{line}\n")
        self._stream.flush()
        self._is_open = self._in_place

    def close(self) -> None:
        """End the line; idempotent."""
        if self._is_open:
            self._stream.write("\n")
            self._is_open = False
