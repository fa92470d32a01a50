"""What happened to a scheduler's core, in a file, and what it costs the core to take it all again.

The simulation writes the file; a fresh process reads it, message by message, decodes each as the scheduler's actor does
and hands it to a core. So neither the simulation's time nor its memory, which would take the processor's caches, is
among the core's. Time is counted in the core's calls alone, as processor time of this thread, the garbage collector
set as in the scheduler's process; and until the last job has arrived: what comes then is heartbeats of runners that
become idle, the more of them the longer the longest of all answers takes.

Time grows with what the processor's caches do not hold. What the core does is told apart from that by counting the
calls of functions and methods, Python's and C's, which are the same on every machine.
"""

import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO

import msgspec

from actors.codec import Codec
from actors.messages.gateway_to_scheduler import FromGateway, Submit
from actors.messages.launcher_to_scheduler import FromLauncher
from actors.messages.runner_to_scheduler import FromRunner
from actors.messages.scheduler_to_gateway import Granted, Refused
from actors.messages.scheduler_to_launcher import StartRunner
from actors.messages.scheduler_to_runner import Drain
from actors.scheduler.__main__ import collect_rarely
from actors.scheduler.events import Effect, Event, Received, Send, Tick, Undelivered
from actors.scheduler.machine import Scheduler
from actors.settings import Settings

DECISIONS = (Granted, Refused, StartRunner, Drain)
BODY = (b"body",)
_LENGTH_BYTES = 4

_encode = msgspec.msgpack.Encoder().encode
_codec: Codec[tuple[float, str, FromGateway | FromLauncher | FromRunner | None]] = Codec(
    tuple[float, str, FromGateway | FromLauncher | FromRunner | None]
)


@dataclasses.dataclass(slots=True)
class Costs:
    """What some runs cost the core."""

    n_decisions: int = 0
    """Grants, loads, evictions and refusals."""
    n_later: int = 0
    """Those after the last job has arrived; neither they nor what they cost are among the rest."""
    n_events: int = 0
    core_s: float = 0.0
    longest_s: float = 0.0
    """The longest that one event took."""

    @property
    def decisions_per_s(self) -> float:
        """Decisions per second of processor time."""
        return self.n_decisions / self.core_s


def write(file: BinaryIO, event: Event, now_s: float) -> None:
    """Add an event."""
    if isinstance(event, Undelivered):
        raise TypeError("a simulated message was not delivered")
    row = _encode((now_s, event.sender, event.message) if isinstance(event, Received) else (now_s, "", None))
    file.write(len(row).to_bytes(_LENGTH_BYTES))
    file.write(row)


def replayed(paths: list[Path], settings: Settings, n_jobs: int) -> Costs:
    """Hand the events of each file, which has so many jobs, to a core of its own."""
    collect_rarely()
    costs = Costs()
    for path in paths:
        core = Scheduler(epoch="e", settings=settings, now_s=0.0)
        n_coming = n_jobs
        for event, now_s in _events(path):
            began_ns = time.thread_time_ns()
            effects = core.handle(event, now_s)
            core.next_deadline()
            took_s = (time.thread_time_ns() - began_ns) * 1e-9
            n_decisions = sum(is_decision(each) for each in effects)
            if not n_coming:
                costs.n_later += n_decisions
                continue
            costs.core_s += took_s
            costs.longest_s = max(costs.longest_s, took_s)
            costs.n_events += 1
            costs.n_decisions += n_decisions
            n_coming -= isinstance(event, Received) and isinstance(event.message, Submit)
    return costs


def calls_per_decision(paths: list[Path], settings: Settings) -> float:
    """Count the calls that the core makes for a decision, in all that the files hold."""
    n_calls = n_decisions = 0

    def count(_frame: FrameType, kind: str, _argument: object) -> None:
        nonlocal n_calls
        n_calls += kind in ("call", "c_call")

    for path in paths:
        core = Scheduler(epoch="e", settings=settings, now_s=0.0)
        for event, now_s in _events(path):
            sys.setprofile(count)
            effects = core.handle(event, now_s)
            core.next_deadline()
            sys.setprofile(None)
            n_decisions += sum(is_decision(each) for each in effects)
    return n_calls / n_decisions


def is_decision(effect: Effect) -> bool:
    """True iff this is what decisions are counted by."""
    return isinstance(effect, Send) and isinstance(effect.message, DECISIONS)


def _events(path: Path) -> Iterator[tuple[Event, float]]:
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            now_s, sender, message = _codec.decode_body(file.read(int.from_bytes(length)))
            payload = BODY if isinstance(message, Submit) else ()
            yield (Tick() if message is None else Received(sender, message, payload)), now_s
