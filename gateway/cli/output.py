"""What commands print beside tables: JSON for programs, and on a terminal a sign of life while the server works."""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator

import click

from gateway.cli.client import Json

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_S = 0.1


def print_json(value: Json) -> None:
    """Print one object, indented."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Json) -> None:
    """Print one object of a sequence, on a line of its own, at once."""
    click.echo(json.dumps(value, ensure_ascii=False))


class Spinner:
    """A turning sign with a label on standard error, or nothing where that is no terminal.

    It turns in a thread of its own, which ends with `stop`.
    """

    def __init__(self, label: str = "") -> None:
        self._label = label
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to turn."""
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._turn, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Vanish; idempotent."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            _write("\r\x1b[K")

    def _turn(self) -> None:
        turn = 0
        while not self._is_over.wait(_FRAME_S):
            frame = _FRAMES[turn % len(_FRAMES)]
            _write(f"\r\x1b[K{self._label} {frame} " if self._label else f"\r\x1b[K{frame} ")
            turn += 1


@contextlib.contextmanager
def spinning(label: str = "") -> Iterator[Spinner]:
    """Turn while the block runs, or until it stops the spinner itself."""
    spinner = Spinner(label)
    spinner.start()
    try:
        yield spinner
    finally:
        spinner.stop()


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
