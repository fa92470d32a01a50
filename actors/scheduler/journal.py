"""The event log of a scheduler: its last events and the state before them, from which its decisions can be replayed.

Theory of operation. The core has no other input than its events, so a copy of its world and the events since then give
the same effects again. The log is cut into segments, each with a copy of the world at its beginning (`twin`); the last
full segment and the running one are kept. Messages are kept as they travel, encoded with their time and sender, and
packed when there are some dozens: a tenth of the memory, nothing for the garbage collector to walk, and soon let go.
Most of a request is the description of its model, which a segment keeps once. Payloads (bodies of requests) are left
out. A dump is a pickle: it never leaves this host, and is only loaded by whoever looks into it with `replay`.

Bounds: `2 * max(EVENTS_KEPT, …)` events. A segment grows with the world, so that copying it costs an event a bounded
share: less than half a microsecond. What is no longer kept is let go piece by piece; at once it would take
milliseconds.
"""

import dataclasses
import pickle
from array import array
from collections.abc import Iterator
from itertools import accumulate

import msgspec
from msgspec.structs import replace

from actors.codec import Codec
from actors.messages.gateway_to_scheduler import FromGateway, Submit
from actors.messages.launcher_to_scheduler import FromLauncher
from actors.messages.model import ModelSpec
from actors.messages.runner_to_scheduler import FromRunner
from actors.scheduler.events import Event, Received, Tick, Undelivered
from actors.scheduler.job import Job
from actors.scheduler.twin import twin
from actors.scheduler.world import World

EVENTS_KEPT = 4096
"""Length of a segment, at least."""
_EVENTS_PER_JOB, _EVENTS_PER_RUNNER = 8, 40  # a runner takes several times as long to copy

_CHUNK_EVENTS = 64
_LET_GO_AT_ONCE = 32

Entry = tuple[float, Event]

_Row = tuple[float, str, FromGateway | FromLauncher | FromRunner | None, int]
"""When, who and what, both empty for a tick; and which of the segment's models a request is for, else -1."""

_encode = msgspec.msgpack.Encoder().encode
_codec: Codec[_Row] = Codec(_Row)
_LEFT_OUT = ModelSpec(
    key="",
    name="",
    digest="",
    weights_path="",
    weights_bytes=0,
    n_layers=0,
    n_ctx_train=0,
    kv_bytes_per_token=0,
)


@dataclasses.dataclass(slots=True)
class Chunk:
    """Some events in a row."""

    models: list[ModelSpec]
    """The segment's."""
    rows: bytes
    """A `_Row` each, encoded."""
    ends: "array[int]"
    """Where each event's row ends; it is empty for what cannot travel."""
    undelivered: list[tuple[float, Undelivered]]
    """The events without rows, in order."""

    def __iter__(self) -> Iterator[Entry]:
        undelivered, begins = iter(self.undelivered), 0
        for ends in self.ends:
            yield self._entry(self.rows[begins:ends]) if ends > begins else next(undelivered)
            begins = ends

    def _entry(self, row: bytes) -> Entry:
        now_s, sender, message, number = _codec.decode_body(row)
        if isinstance(message, Submit):
            message = replace(message, model=self.models[number])
        return now_s, Tick() if message is None else Received(sender, message)


@dataclasses.dataclass(slots=True)
class Segment:
    """Events and a copy of the world before the first of them."""

    world: World
    """Without jobs."""
    jobs: list[Job]
    length: int
    """How many events there will be."""
    models: list[ModelSpec] = dataclasses.field(default_factory=list)
    """Those that its requests are for, in the order in which they came; mostly once each."""
    numbers: dict[str, int] = dataclasses.field(default_factory=dict)
    """Where the latest with a key stands among them."""
    chunks: list[Chunk] = dataclasses.field(default_factory=list)


class Journal:
    """The log; owned by the core."""

    def __init__(self, world: World) -> None:
        self._outlived: list[object] = []
        """What is to be let go."""
        self._last: Segment | None = None
        self._running = _segment(world)
        self._rows: list[bytes] = []
        """Of the events that no chunk holds yet."""
        self._undelivered: list[tuple[float, Undelivered]] = []
        """Those among them without rows."""

    def __len__(self) -> int:
        return sum(len(chunk.ends) for segment in self._segments() for chunk in segment.chunks) + len(self._rows)

    def __iter__(self) -> Iterator[Entry]:
        for segment in self._segments():
            for chunk in segment.chunks:
                yield from chunk
        yield from self._chunk()

    def record(self, world: World, now_s: float, event: Event) -> None:
        """Take note of an event before the world has changed by it."""
        if self._outlived:
            del self._outlived[-_LET_GO_AT_ONCE:]
        rows = self._rows
        if len(rows) >= _CHUNK_EVENTS:
            self._pack(world)
            rows = self._rows
        if isinstance(event, Received):
            message, number = event.message, -1
            if isinstance(message, Submit):
                number = self._number(world, message.model)
                message = replace(message, model=_LEFT_OUT)
            rows.append(_encode((now_s, event.sender, message, number)))
        elif isinstance(event, Tick):
            rows.append(_encode((now_s, "", None, -1)))
        else:
            self._undelivered.append((now_s, _without_payload(event)))
            rows.append(b"")

    def _number(self, world: World, model: ModelSpec) -> int:
        """Tell where a model stands in the running segment; as a rule it is the one that the world knows."""
        record = world.records.get(model.key)
        if record is not None and record.model == model:
            model = record.model
        models, numbers = self._running.models, self._running.numbers
        number = numbers.get(model.key)
        if number is None or models[number] is not model:
            number = numbers[model.key] = len(models)
            models.append(model)
        return number

    def _pack(self, world: World) -> None:
        """Put what was noted into a chunk, and begin a segment if the running one is full."""
        running = self._running
        running.chunks.append(self._chunk())
        self._rows, self._undelivered = [], []
        if len(running.chunks) * _CHUNK_EVENTS >= running.length:
            if self._last is not None:
                self._outlived = [*self._last.chunks, *self._last.world.runners.values(), *self._last.jobs]
            self._last, self._running = running, _segment(world)

    def _chunk(self) -> Chunk:
        rows = self._rows
        return Chunk(self._running.models, b"".join(rows), array("I", accumulate(map(len, rows))), self._undelivered)

    def first_world(self) -> World:
        """Give a fresh copy of the world as it was before the first event that is kept."""
        first = self._segments()[0]
        world = twin(first.world)
        world.jobs = {each.job_id: each for each in first.jobs}
        return world

    def dump(self) -> bytes:
        """Give the log as the content of a file."""
        return pickle.dumps((self.first_world(), list(self)))

    def _segments(self) -> list[Segment]:
        return [self._running] if self._last is None else [self._last, self._running]


def load_dump(content: bytes) -> tuple[World, list[Entry]]:
    """Read a dumped log: a world and the events from there on. For files of one's own only: it is a pickle."""
    world, events = pickle.loads(content)  # noqa: S301 - written by `dump`, read by the same operator
    if not isinstance(world, World):
        raise TypeError("not a world")
    return world, events


def _segment(world: World) -> Segment:
    length = _EVENTS_PER_JOB * len(world.jobs) + _EVENTS_PER_RUNNER * len(world.runners)
    return Segment(twin(world), list(world.jobs.values()), max(EVENTS_KEPT, length))


def _without_payload(event: Undelivered) -> Undelivered:
    if event.effect.payload:
        return Undelivered(replace(event.effect, payload=()))
    return event
