"""Readers of tool calls: what they have in common, and what happens to a call that cannot be read.

A reader begins behind the marker that announces calls and takes text until the calls are over. It never fails: what
it cannot read comes out as text, marked, up to the marker that would have ended it.
"""

from typing import Protocol

from gateway.parse.sink import Sink


class NotACallError(Exception):
    """What follows cannot be read as a call; caught by the reader's base class."""


class CallReader(Protocol):
    """Reads the calls of one section; what it finds goes to its sink."""

    @property
    def gave_back(self) -> bool:
        """Whether it gave up, and what it gave back is to be read as text."""

    def feed(self, text: str) -> str | None:
        """Take text; give None while the section goes on, else the text behind it."""

    def close(self) -> str:
        """End the answer; give text that belongs to no call after all."""


class ReaderBase:
    """A reader that can give up: it keeps the raw text since the last complete call."""

    def __init__(self, sink: Sink, opening: str, closings: tuple[str, ...]) -> None:
        self._sink = sink
        self._opening = opening
        self._closings = closings
        self._raw: list[str] = []
        self._wreck: Wreck | None = None
        self.gave_back = False
        """Whether it gave up, and what it gave back is to be read as text."""

    def feed(self, text: str) -> str | None:
        """Take text; give None while the section goes on, else the text behind it."""
        if self._wreck is not None:
            return self._wreck.feed(text)
        self._raw.append(text)
        try:
            return self._read(text)
        except NotACallError:
            return self._give_up()

    def close(self) -> str:
        """End the answer; give text that belongs to no call after all."""
        if self._wreck is not None:
            return self._wreck.close()
        try:
            self._finish()
        except NotACallError:
            self._sink.text(self._opening + "".join(self._raw), unparsed=True)
        return ""

    def _read(self, text: str) -> str | None:
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError

    def _settle(self, rest: str) -> None:
        """Forget what was read: only `rest` is still open."""
        self._opening = ""
        self._raw = [rest]

    def _give_up(self) -> str | None:
        raw = "".join(self._raw)
        self._raw.clear()
        if not self._closings:  # nothing tells how far it goes: only its marker is marked
            self._sink.text(self._opening, unparsed=True)
            self.gave_back = True
            return raw
        self._wreck = Wreck(self._sink, self._closings)
        self._sink.text(self._opening, unparsed=True)
        return self._wreck.feed(raw)


class Wreck:
    """What is left of calls that could not be read: passed on as marked text, the closing marker included."""

    def __init__(self, sink: Sink, closings: tuple[str, ...]) -> None:
        self._sink = sink
        self._closings = closings
        self._held = ""

    def feed(self, text: str) -> str | None:
        """Take text; give None while the section goes on, else the text behind it."""
        held = self._held + text
        found = first_of(held, self._closings)
        if found is None:
            n_held = open_end(held, self._closings)
            self._held = held[len(held) - n_held :]
            self._sink.text(held[: len(held) - n_held], unparsed=True)
            return None
        at, closing = found
        end = at + len(closing)
        self._sink.text(held[:end], unparsed=True)
        return held[end:]

    def close(self) -> str:
        """End the answer."""
        self._sink.text(self._held, unparsed=True)
        return ""


def first_of(text: str, markers: tuple[str, ...], start: int = 0) -> tuple[int, str] | None:
    """Find the first of some markers: its position and which it is."""
    found = [(at, marker) for marker in markers if (at := text.find(marker, start)) >= 0]
    return min(found) if found else None


def open_end(text: str, markers: tuple[str, ...]) -> int:
    """Give the length of the longest end of `text` that may become one of the markers."""
    longest = max(map(len, markers), default=0)
    for start in range(max(0, len(text) - longest + 1), len(text)):
        if any(marker.startswith(text[start:]) for marker in markers):
            return len(text) - start
    return 0
