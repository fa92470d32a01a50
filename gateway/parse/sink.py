"""Where the readers of one answer put what they find; it counts the calls."""

import secrets
import string

from gateway.parse.events import CallArguments, CallClosed, CallOpened, Event, Text, Thought, ThoughtEnded
from gateway.parse.tools import DeclaredTools

_ID_CHARS = string.ascii_lowercase + string.digits
_N_ID_CHARS = 8


class Sink:
    """Collects the events of one answer until they are taken."""

    __slots__ = ("_events", "_ids", "tools")

    def __init__(self, tools: DeclaredTools) -> None:
        self.tools = tools
        self._events: list[Event] = []
        self._ids: list[str] = []

    def take(self) -> list[Event]:
        """Give what was collected since the last call."""
        events, self._events = self._events, []
        return events

    def text(self, text: str, *, unparsed: bool = False) -> None:
        """Add text, unless it is empty."""
        if text:
            self._events.append(Text(text, unparsed))

    def thought(self, text: str) -> None:
        """Add thinking, unless it is empty."""
        if text:
            self._events.append(Thought(text))

    def thought_ended(self) -> None:
        """Say that the text so far was thinking."""
        self._events.append(ThoughtEnded())

    def open(self, name: str) -> int:
        """Open a call and give its index."""
        index = len(self._ids)
        self._ids.append(_new_id())
        self._events.append(CallOpened(index, name, self._ids[index]))
        return index

    def arguments(self, index: int, text: str) -> None:
        """Add to an open call's arguments."""
        if text:
            self._events.append(CallArguments(index, text))

    def close(self, index: int, name: str, arguments: str) -> None:
        """Complete a call."""
        self._events.append(CallClosed(index, name, arguments, self._ids[index]))

    def call(self, name: str, arguments: str) -> None:
        """Add a whole call at once."""
        index = self.open(name)
        self.arguments(index, arguments)
        self.close(index, name, arguments)


def _new_id() -> str:
    return "call_" + "".join(secrets.choice(_ID_CHARS) for _ in range(_N_ID_CHARS))
