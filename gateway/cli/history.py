"""The lines typed into chats: editing by readline, and the history file that Ollama's users have already."""

import contextlib
import os
from pathlib import Path
from types import ModuleType
from typing import Self

try:
    import readline as _readline
except ImportError:  # Python can be built without it; lines are then read plainly
    _readline = None  # type: ignore[assignment]

_LONGEST_LINES = 100


class History:
    """The last hundred lines, in `~/.ollama/history` unless OLLAMA_NOHISTORY is set; owns readline's state."""

    def __init__(self, path: Path | None = None) -> None:
        self._readline: ModuleType | None = _readline
        self._path = path or Path.home() / ".ollama" / "history"
        self._is_on = not _is_true(os.environ.get("OLLAMA_NOHISTORY", ""))

    def __enter__(self) -> Self:
        if self._readline is not None:
            self._readline.clear_history()
            self._readline.set_history_length(_LONGEST_LINES)
            self._readline.set_auto_history(False)
            if self._is_on:
                with contextlib.suppress(OSError):  # none yet
                    self._readline.read_history_file(str(self._path))
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._readline is None or not self._is_on:
            return
        with contextlib.suppress(OSError):  # a history that cannot be kept must not spoil the end of a chat
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            self._readline.write_history_file(str(self._path))

    def switch(self, *, on: bool) -> None:
        """Keep lines from now on, or no longer."""
        self._is_on = on

    def read_line(self, prompt: str) -> str:
        """Read one line from the terminal.

        Raises:
            EOFError: Ctrl+D.
            KeyboardInterrupt: Ctrl+C.
        """
        line = input(prompt)
        if self._readline is not None and self._is_on and line.strip():
            self._readline.add_history(line)
        return line

    def pending_line(self) -> str:
        """Give what stood on the line when it was interrupted."""
        return str(self._readline.get_line_buffer()) if self._readline is not None else ""


def _is_true(text: str) -> bool:
    return bool(text) and text not in {"0", "f", "F", "false", "FALSE", "False"}
