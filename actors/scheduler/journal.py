"""The event log of a scheduler: its last events and the state before them, from which its decisions can be replayed.

Theory of operation. The core has no other input than its events, so a copy of its world and the events since then give
the same effects again. The log is cut into segments, each with a copy of the world at its beginning; the last full
segment and the running one are kept. The copy is a pickle: it never leaves this host, and is only loaded by whoever
looks into it with `replay`. Messages are kept as they travel, encoded: a fifth of the memory, and nothing for the
garbage collector to walk. Payloads (bodies of requests) are left out of both.

Bounds: `2 * max(EVENTS_KEPT, …)` events. A segment grows with the world, so that copying it costs an event a bounded
share: about a microsecond.
"""

import dataclasses
import pickle
from collections.abc import Iterator

import msgspec

from actors.codec import Codec
from actors.messages.gateway_to_scheduler import FromGateway
from actors.messages.launcher_to_scheduler import FromLauncher
from actors.messages.runner_to_scheduler import FromRunner
from actors.scheduler.events import Event, Received, Tick, Undelivered
from actors.scheduler.world import World

EVENTS_KEPT = 4096
"""Length of a segment, at least."""
_EVENTS_PER_OBJECT = 8

Entry = tuple[float, Event]
_Row = tuple[float, str, bytes] | tuple[float, Tick | Undelivered]
"""A time, and a sender with its encoded message or whatever else has happened."""

_encode = msgspec.msgpack.Encoder().encode
_codec: Codec[FromGateway | FromLauncher | FromRunner] = Codec(FromGateway | FromLauncher | FromRunner)


@dataclasses.dataclass(slots=True)
class Segment:
    """Events and a copy of the world before the first of them."""

    world: bytes
    rows: list[_Row]
    length: int
    """How many events there will be."""


class Journal:
    """The log; owned by the core."""

    def __init__(self, world: World) -> None:
        self._last: Segment | None = None
        self._running = _segment(world)

    def __len__(self) -> int:
        return sum(len(segment.rows) for segment in self._segments())

    def __iter__(self) -> Iterator[Entry]:
        for segment in self._segments():
            for row in segment.rows:
                yield row[0], Received(row[1], _codec.decode_body(row[2])) if len(row) > 2 else row[1]  # noqa: PLR2004

    def record(self, world: World, now_s: float, event: Event) -> None:
        """Take note of an event before the world has changed by it."""
        if len(self._running.rows) >= self._running.length:
            self._last, self._running = self._running, _segment(world)
        if isinstance(event, Received):
            self._running.rows.append((now_s, event.sender, _encode(event.message)))
        else:
            self._running.rows.append((now_s, _without_payload(event)))

    def first_world(self) -> World:
        """Give a fresh copy of the world as it was before the first event that is kept."""
        segments = self._segments()
        return _world(segments[0].world)

    def dump(self) -> bytes:
        """Give the log as the content of a file."""
        return pickle.dumps((self._segments()[0].world, list(self)))

    def _segments(self) -> list[Segment]:
        return [self._running] if self._last is None else [self._last, self._running]


def load_dump(content: bytes) -> tuple[World, list[Entry]]:
    """Read a dumped log: a world and the events from there on. For files of one's own only: it is a pickle."""
    world, events = pickle.loads(content)  # noqa: S301 - written by `dump`, read by the same operator
    return _world(world), events


def _segment(world: World) -> Segment:
    n_objects = len(world.jobs) + len(world.runners)
    return Segment(pickle.dumps(world), [], max(EVENTS_KEPT, _EVENTS_PER_OBJECT * n_objects))


def _world(content: bytes) -> World:
    world = pickle.loads(content)  # noqa: S301 - written by this module
    if not isinstance(world, World):
        raise TypeError("not a world")
    return world


def _without_payload(event: Tick | Undelivered) -> Tick | Undelivered:
    if isinstance(event, Undelivered) and event.effect.payload:
        return Undelivered(msgspec.structs.replace(event.effect, payload=()))
    return event
