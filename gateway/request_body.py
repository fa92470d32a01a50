"""The body of a request as it arrives: chunks with backpressure, an idle deadline and a bound.

Hypercorn's reader feeds it, the route reads it. When more than `_HIGH_WATER_BYTES` wait unread, the feeder waits, so
the client's TCP window closes and an upload of any size costs bounded memory. Once the answer begins nobody reads any
more: `discard` lets the rest through unseen, so that the feeder can never be stuck.
"""

import trio
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from gateway.body_budget import BodyBudget

IDLE_DEADLINE_S = 30.0
"""A client that sends nothing for so long is taken for gone."""
PACE_GRACE_S = 60.0
PACE_BYTES_PER_S = 1024
"""A client that is waited for longer than the grace must have sent so much per second of waiting: one that sends a
byte now and then to hold a connection is not served for ever. A modem of 1996 was faster."""
_HIGH_WATER_BYTES = 1 << 20
_LEFTOVER_DEADLINE_S = 2.0
_LEFTOVER_MAX_BYTES = 256 << 20


class RequestBody:
    """Single-reader, single-writer queue of chunks. Replaces Quart's body, which has no backpressure."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        self._expected_bytes = expected_content_length
        self._max_bytes = max_content_length
        self._chunks: list[bytes] = []
        self._n_bytes = 0
        self._received_bytes = 0
        self._waited_s = 0.0
        self._is_complete = False
        self._is_discarding = False
        self._changed = trio.Event()
        self.budget: BodyBudget | None = None
        """What all bodies of the worker share; None: no bound on them together."""
        self._taken_bytes = 0

    def add(self, data: bytes, *, more: bool) -> None:
        """Add a chunk; `more` is false for the last one. The next one waits until the body `has_room`."""
        self._received_bytes += len(data)
        if data and not self._is_discarding:
            self._chunks.append(data)
            self._n_bytes += len(data)
        self._is_complete = self._is_complete or not more
        self._notify()

    async def has_room(self) -> None:
        """Wait while too much is unread."""
        while self._n_bytes > _HIGH_WATER_BYTES and not self._is_discarding:
            await self._changed.wait()

    def discard(self) -> None:
        """Drop what is unread and whatever else comes; idempotent."""
        self._is_discarding = True
        self._chunks.clear()
        self._n_bytes = 0
        self._notify()

    async def receive(self) -> bytes:
        """Wait for more and give all there is; no bytes at the end.

        Raises:
            RequestTimeout: nothing came for `IDLE_DEADLINE_S`, or too little for too long.
        """
        while not self._chunks and not self._is_complete:
            started = trio.current_time()
            patience_s = PACE_GRACE_S + self._received_bytes / PACE_BYTES_PER_S - self._waited_s
            with trio.move_on_after(min(IDLE_DEADLINE_S, max(0.0, patience_s))) as deadline:
                await self._changed.wait()
            if deadline.cancelled_caught:
                raise RequestTimeout
            self._waited_s += trio.current_time() - started
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._n_bytes = 0
        self._notify()
        return data

    async def read(self) -> bytes:
        """Read all of it.

        Raises:
            RequestEntityTooLarge: there is more than the configured maximum.
            RequestTimeout: nothing came for `IDLE_DEADLINE_S`.
            TooManyBodies: other bodies that are being read leave no room for it.
        """
        limit = self._max_bytes
        if limit is not None and (self._expected_bytes or 0) > limit:
            raise RequestEntityTooLarge
        parts: list[bytes] = []
        n_bytes = 0
        while data := await self.receive():
            n_bytes += len(data)
            if limit is not None and n_bytes > limit:
                raise RequestEntityTooLarge
            if self.budget is not None:
                self.budget.take(len(data))
                self._taken_bytes += len(data)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def release(self) -> None:
        """Give back what `read` took of the budget, once the body was decoded; idempotent."""
        if self.budget is not None:
            self.budget.give_back(self._taken_bytes)
        self._taken_bytes = 0

    async def read_leftover(self) -> None:
        """Take in, for a short while, what the route did not want, then discard the rest.

        Closing a connection with unread data resets it, and the client would never see why it was refused.
        """
        if self._is_complete:
            return
        n_bytes = 0
        with trio.move_on_after(_LEFTOVER_DEADLINE_S):
            while not (self._is_complete or n_bytes > _LEFTOVER_MAX_BYTES):
                n_bytes += self._n_bytes
                self._chunks.clear()
                self._n_bytes = 0
                self._notify()
                await self._changed.wait()
        self.discard()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
