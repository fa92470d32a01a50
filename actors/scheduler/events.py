"""What goes into the scheduler's core and what comes out of it."""

import msgspec


class Received(msgspec.Struct, frozen=True, gc=False):
    """A peer's message; `sender` is its socket identity, `payload` the frames behind the header."""

    sender: str
    message: msgspec.Struct
    payload: tuple[bytes, ...] = ()


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Time has passed: deadlines that are due are to be looked at. All input was drained before."""


class Send(msgspec.Struct, frozen=True, gc=False):
    """Effect: send this message."""

    peer: str
    message: msgspec.Struct
    payload: tuple[bytes, ...] = ()


class Undelivered(msgspec.Struct, frozen=True, gc=False):
    """A `Send` was refused by the socket: the peer is not connected, or does not read."""

    effect: Send


class Note(msgspec.Struct, frozen=True, gc=False):
    """Effect: tell the operator; `level` is one of the logging module."""

    level: int
    text: str


Event = Received | Tick | Undelivered
Effect = Send | Note
