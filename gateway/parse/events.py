"""What a parser finds in an answer, in order: the vocabulary between the parsers and the writers of each API.

A call is opened, its arguments arrive as JSON text in one or more pieces, and it is closed with all of them. A call
that is opened and never closed broke on the way; what was left of it follows as text.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Text:
    """Words for the reader; `unparsed` marks what looked like a call and could not be read as one."""

    text: str
    unparsed: bool = False


@dataclass(frozen=True, slots=True)
class Thought:
    """Words of the model to itself."""

    text: str


@dataclass(frozen=True, slots=True)
class ThoughtEnded:
    """All text so far was thinking: its end was found, its beginning was never marked."""


@dataclass(frozen=True, slots=True)
class CallOpened:
    """A call of a declared tool begins; `index` counts the calls of an answer from 0."""

    index: int
    name: str
    id: str = field(default="", compare=False)
    """Random, and the same for all of a call."""


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the JSON text of an open call's arguments."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallClosed:
    """A call is complete; `arguments` is the JSON text of an object."""

    index: int
    name: str
    arguments: str
    id: str = field(default="", compare=False)


Event = Text | Thought | ThoughtEnded | CallOpened | CallArguments | CallClosed
