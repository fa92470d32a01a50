"""Connections between two requests, and when they are closed: after the idle time, and at once when the server drains.

One task watches all of them: a timer for each, started and cancelled with every request, took a tenth of its time.
"""

import math
from collections import OrderedDict
from collections.abc import Awaitable
from typing import Protocol

import trio
from hypercorn.typing import Event


class Closable(Protocol):
    """A connection as its watcher knows it."""

    def close_idle(self) -> Awaitable[None]:
        """Close it; it may be in use again by then."""
        ...


class IdleConnections:
    """The idle connections of a server; owned by trio's thread."""

    def __init__(self, *, timeout_s: float, draining: Event) -> None:
        """Close connections that are idle for `timeout_s`, and every idle one once `draining` is set."""
        self._timeout_s = timeout_s
        self._draining = draining
        self._deadlines: OrderedDict[Closable, float] = OrderedDict()  # in their order, because the idle time is one
        self._news = trio.Event()

    def add(self, connection: Closable) -> None:
        """Begin a connection's idle time."""
        self._deadlines[connection] = trio.current_time() + self._timeout_s
        self._deadlines.move_to_end(connection)
        self._news.set()

    def discard(self, connection: Closable) -> None:
        """End a connection's idle time, if it has one."""
        self._deadlines.pop(connection, None)

    async def watch(self, closers: trio.Nursery) -> None:
        """Close what is idle for too long, until cancelled; each connection is closed by a task of its own."""
        while True:
            if not self._deadlines:
                self._news = trio.Event()
                await self._news.wait()  # without a deadline, because there is none to watch
            with trio.move_on_at(next(iter(self._deadlines.values()), math.inf)):
                await self._draining.wait()
            now = math.inf if self._draining.is_set() else trio.current_time()
            for connection, deadline in list(self._deadlines.items()):
                if deadline > now:
                    break
                self.discard(connection)
                closers.start_soon(connection.close_idle)
