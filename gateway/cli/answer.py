"""Printing one streamed answer: thinking apart from the answer itself, wrapped on terminals."""

import shutil
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from gateway.cli.client import Json
from gateway.cli.output import Spinner
from gateway.cli.wordwrap import WordWrap

_GREY, _PLAIN = "\x1b[38;5;242m", "\x1b[0m"
_BEFORE_THINKING = "Thinking...\n"
_AFTER_THINKING = "...done thinking.\n\n"


@dataclass(frozen=True, slots=True)
class Display:
    """How answers are shown."""

    wraps_words: bool = True
    shows_thinking: bool = True
    shows_statistics: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request; `final` is None when it was interrupted."""

    content: str
    thinking: str
    final: Json | None


class AnswerPrinter:
    """Prints the parts of one answer as they come; owns what is still held back."""

    def __init__(self, display: Display) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._display = display
        self._wrap = self._new_wrap()
        self._is_thinking = False

    def thinking(self, text: str) -> None:
        """Print a piece of thinking."""
        if not self._display.shows_thinking:
            return
        if not self._is_thinking:
            self._is_thinking = True
            self._write((_GREY if self._is_terminal else "") + _BEFORE_THINKING)
        self._write(self._wrapped(text))

    def content(self, text: str) -> None:
        """Print a piece of the answer."""
        self._end_thinking()
        self._write(self._wrapped(text))

    def close(self) -> None:
        """Print what was held back."""
        self._end_thinking()
        self._write(self._wrap.flush() if self._wrap else "")

    def _end_thinking(self) -> None:
        if not self._is_thinking:
            return
        self._is_thinking = False
        held_back = self._wrap.flush() if self._wrap else ""
        self._write(f"{held_back}\n{_AFTER_THINKING}" + (_PLAIN if self._is_terminal else ""))
        self._wrap = self._new_wrap()

    def _new_wrap(self) -> WordWrap | None:
        if not (self._is_terminal and self._display.wraps_words):
            return None
        return WordWrap(shutil.get_terminal_size().columns - 1)

    def _wrapped(self, text: str) -> str:
        return self._wrap.feed(text) if self._wrap else text

    def _write(self, text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()


def print_answer(parts: Generator[Json, None, None], display: Display, *, spinner: Spinner) -> Answer:
    """Print the parts of a generate or chat stream, until it ends or Ctrl+C ends it.

    Raises:
        ApiFailure: the stream was refused or broke off; what came before has been printed.
    """
    printer = AnswerPrinter(display)
    contents: list[str] = []
    thoughts: list[str] = []
    final: Json | None = None
    # Closing the stream on the way out is what cancels the request at the server.
    with closing(parts):
        try:
            for part in parts:
                spinner.stop()
                message = part.get("message") or part
                if thought := message.get("thinking"):
                    thoughts.append(thought)
                    printer.thinking(thought)
                if content := message.get("content") or message.get("response"):
                    contents.append(content)
                    printer.content(content)
                final = part if part.get("done") else final
        except KeyboardInterrupt:
            final = None
        finally:
            spinner.stop()
            printer.close()
    return Answer("".join(contents), "".join(thoughts), final)
