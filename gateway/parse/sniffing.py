"""A section whose first character tells how its calls are written: brackets begin JSON, anything else another form."""

from collections.abc import Callable

from gateway.parse.reader import CallReader
from gateway.parse.sink import Sink

MakeReader = Callable[[Sink, str], CallReader]
"""From a sink and the text that opened the section to its reader."""


class SniffedCalls:
    """Waits for the first character of a section, then leaves it to the right reader."""

    def __init__(self, sink: Sink, opening: str, *, if_json: MakeReader, otherwise: MakeReader) -> None:
        self._sink = sink
        self._opening = opening
        self._if_json = if_json
        self._otherwise = otherwise
        self._held = ""
        self._reader: CallReader | None = None

    @property
    def gave_back(self) -> bool:
        """Whether it gave up, and what it gave back is to be read as text."""
        return self._reader is not None and self._reader.gave_back

    def feed(self, text: str) -> str | None:
        """Take text; give None while the section goes on, else the text behind it."""
        if self._reader is not None:
            return self._reader.feed(text)
        self._held += text
        stripped = self._held.lstrip()
        if not stripped:
            return None
        make = self._if_json if stripped[0] in "{[" else self._otherwise
        self._reader = make(self._sink, self._opening)
        return self._reader.feed(self._held)

    def close(self) -> str:
        """End the answer; give text that belongs to no call after all."""
        if self._reader is not None:
            return self._reader.close()
        self._sink.text(self._opening + self._held, unparsed=True)
        return ""
