"""The event log of a scheduler: its last events and the state before them, from which its decisions can be replayed.

Theory of operation. The core has no other input than its events, so a copy of its world and the events since then give
the same effects again. The log is cut into segments, each with a copy of the world at its beginning (`twin`); the last
full segment and the running one are kept. Messages are kept as they travel, encoded with their time and sender: a fifth
of the memory, and nothing for the garbage collector to walk. Payloads (bodies of requests) are left out of both. A dump
is a pickle: it never leaves this host, and is only loaded by whoever looks into it with `replay`.

Bounds: `2 * max(EVENTS_KEPT, …)` events. A segment grows with the world, so that copying it costs an event a bounded
share: less than a microsecond.
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
from actors.scheduler.twin import twin
from actors.scheduler.world import World

EVENTS_KEPT = 4096
"""Length of a segment, at least."""
_EVENTS_PER_OBJECT = 4

Entry = tuple[float, Event]
_Row = bytes | tuple[float, Undelivered]
"""A time with a sender and its message, or with neither for a tick, encoded; or what else has happened."""

_encode = msgspec.msgpack.Encoder().encode
_codec: Codec[tuple[float, str, FromGateway | FromLauncher | FromRunner | None]] = Codec(
    tuple[float, str, FromGateway | FromLauncher | FromRunner | None]
)


@dataclasses.dataclass(slots=True)
class Segment:
    """Events and a copy of the world before the first of them."""

    world: World
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
                yield _entry(row)

    def record(self, world: World, now_s: float, event: Event) -> None:
        """Take note of an event before the world has changed by it."""
        if len(self._running.rows) >= self._running.length:
            self._last, self._running = self._running, _segment(world)
        if isinstance(event, Received):
            self._running.rows.append(_encode((now_s, event.sender, event.message)))
        elif isinstance(event, Tick):
            self._running.rows.append(_encode((now_s, "", None)))
        else:
            self._running.rows.append((now_s, _without_payload(event)))

    def first_world(self) -> World:
        """Give a fresh copy of the world as it was before the first event that is kept."""
        return twin(self._segments()[0].world)

    def dump(self) -> bytes:
        """Give the log as the content of a file."""
        return pickle.dumps((self._segments()[0].world, list(self)))

    def _segments(self) -> list[Segment]:
        return [self._running] if self._last is None else [self._last, self._running]


def load_dump(content: bytes) -> tuple[World, list[Entry]]:
    """Read a dumped log: a world and the events from there on. For files of one's own only: it is a pickle."""
    world, events = pickle.loads(content)  # noqa: S301 - written by `dump`, read by the same operator
    if not isinstance(world, World):
        raise TypeError("not a world")
    return world, events


def _segment(world: World) -> Segment:
    n_objects = len(world.jobs) + len(world.runners)
    return Segment(twin(world), [], max(EVENTS_KEPT, _EVENTS_PER_OBJECT * n_objects))


def _entry(row: _Row) -> Entry:
    if isinstance(row, tuple):
        return row
    now_s, sender, message = _codec.decode_body(row)
    return now_s, Tick() if message is None else Received(sender, message)


def _without_payload(event: Undelivered) -> Undelivered:
    if event.effect.payload:
        return Undelivered(msgspec.structs.replace(event.effect, payload=()))
    return event
