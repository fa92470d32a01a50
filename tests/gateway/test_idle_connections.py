"""Connections between two requests: when they are closed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing
from hypercorn.trio.worker_context import EventWrapper

from gateway.idle_connections import IdleConnections

TIMEOUT_S = 10.0


class _Connection:
    """Notes when it was closed."""

    closed_at: float | None = None

    async def close_idle(self) -> None:
        self.closed_at = trio.current_time()


@asynccontextmanager
async def _watched() -> AsyncIterator[tuple[IdleConnections, EventWrapper]]:
    draining = EventWrapper()
    idle = IdleConnections(timeout_s=TIMEOUT_S, draining=draining)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(idle.watch, nursery)
        yield idle, draining
        nursery.cancel_scope.cancel()


async def test_each_connection_is_closed_after_its_own_idle_time(autojump_clock: trio.testing.MockClock) -> None:
    """Counted from when it became idle last; one that is in use is left alone."""
    del autojump_clock
    first, second, busy = _Connection(), _Connection(), _Connection()
    async with _watched() as (idle, _):
        started = trio.current_time()
        idle.add(first)
        idle.add(second)
        idle.add(busy)
        await trio.sleep(3)
        idle.discard(second)
        idle.discard(busy)
        idle.add(second)
        await trio.sleep(3 * TIMEOUT_S)
        idle.add(busy)
        await trio.sleep(1)
    assert first.closed_at == started + TIMEOUT_S
    assert second.closed_at == started + 3 + TIMEOUT_S
    assert busy.closed_at is None


async def test_draining_closes_what_is_idle_and_what_becomes_so(autojump_clock: trio.testing.MockClock) -> None:
    """At once, without waiting for the idle time."""
    del autojump_clock
    waiting, later = _Connection(), _Connection()
    async with _watched() as (idle, draining):
        started = trio.current_time()
        idle.add(waiting)
        await trio.sleep(1)
        await draining.set()
        await trio.sleep(1)
        idle.add(later)
        await trio.sleep(1)
    assert waiting.closed_at == started + 1
    assert later.closed_at == started + 2
