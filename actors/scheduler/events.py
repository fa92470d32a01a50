"""What goes into the scheduler's core and what comes out of it."""

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Received:
    """A peer's message; `sender` is its socket identity, `payload` the frames behind the header."""

    sender: str
    message: msgspec.Struct
    payload: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: deadlines that are due are to be looked at. All input was drained before."""


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send this message."""

    peer: str
    message: msgspec.Struct
    payload: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A `Send` was refused by the socket: the peer is not connected, or does not read."""

    effect: Send


@dataclass(frozen=True, slots=True)
class Note:
    """Effect: tell the operator; `level` is one of the logging module."""

    level: int
    text: str


Event = Received | Tick | Undelivered
Effect = Send | Note
