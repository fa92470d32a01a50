"""Splits `<think>…</think>` from the front of an answer, piece by piece.

    START ──<think>──▶ THINKING ──</think>──▶ AFTER ──first text──▶ CONTENT
      └────────anything else─────────────────────────────────────────▲

Text is held back only while it can still become a tag, or is white space that a tag would swallow: around the opening
tag, before the closing one and after it. What comes out, joined, does not depend on how the input was cut. An answer
that ends inside its thinking gives what was held back as thinking.
"""

import enum

OPEN_TAG = "<think>"
CLOSE_TAG = "</think>"


class _State(enum.Enum):
    START = enum.auto()
    OPENED = enum.auto()
    THINKING = enum.auto()
    AFTER = enum.auto()
    CONTENT = enum.auto()


class ThinkingSplitter:
    """Splitter of one answer; feed it until the answer ends, then `close` it."""

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._state = _State.START
        self._held = ""

    def feed(self, text: str) -> tuple[str, str]:
        """Take a piece of the answer.

        Returns:
            Thinking and content that are certain now; either may be empty.
        """
        if self._state is _State.CONTENT:
            return "", text
        self._held += text
        thinking = ""
        if self._state is _State.START:
            self._open()
        if self._state is _State.OPENED:
            self._held = self._held.lstrip()
            if self._held:
                self._state = _State.THINKING
        if self._state is _State.THINKING:
            thinking = self._think()
        return thinking, self._content()

    def close(self) -> tuple[str, str]:
        """End the answer and give what was held back, as thinking and content."""
        held, self._held = self._held, ""
        state, self._state = self._state, _State.CONTENT
        if state is _State.THINKING:
            return held.rstrip(), ""
        return "", held if state is _State.START else ""

    def _open(self) -> None:
        stripped = self._held.lstrip()
        if stripped.startswith(OPEN_TAG):
            self._held = stripped[len(OPEN_TAG) :]
            self._state = _State.OPENED
        elif not OPEN_TAG.startswith(stripped):
            self._state = _State.CONTENT

    def _think(self) -> str:
        before, tag, after = self._held.partition(CLOSE_TAG)
        if tag:
            self._held = after
            self._state = _State.AFTER
            return before.rstrip()
        n_certain = len(self._held) - _partial_tag(self._held)
        certain = self._held[:n_certain].rstrip()
        self._held = self._held[len(certain) :]
        return certain

    def _content(self) -> str:
        if self._state is _State.AFTER:
            self._held = self._held.lstrip()
            if self._held:
                self._state = _State.CONTENT
        if self._state is not _State.CONTENT:
            return ""
        content, self._held = self._held, ""
        return content


def _partial_tag(text: str) -> int:
    """Give the length of the longest end of `text` that may become the closing tag."""
    start = text.rfind("<", max(0, len(text) - len(CLOSE_TAG) + 1))
    return len(text) - start if start >= 0 and CLOSE_TAG.startswith(text[start:]) else 0
