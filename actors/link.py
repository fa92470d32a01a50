"""A peer's connection to the scheduler: hello, heartbeats, and learning that the scheduler is a new one.

Gateways, launchers and runners each hold one `SchedulerLink`. It says hello at once and again whenever the
scheduler does not know the peer or has a new epoch, beats every `HEARTBEAT_S`, and hands every other message to the
owner in order. The owner's callbacks run in the link's own task and must not block.

A peer that has nothing to tell beats every `IDLE_HEARTBEAT_S`, because beats are most of what an idle server costs;
its owner calls `stir` when there is something to tell again.

Bound: messages sent while no scheduler is connected wait in the socket up to its high-water mark, then `Backlogged`.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
import trio

from actors.codec import Codec, encode
from actors.errors import Backlogged, MalformedMessage, ProtocolMismatch
from actors.log import get_logger
from actors.messages.scheduler_to_gateway import Welcome, WhoAreYou
from actors.transport import Kind, Socket

HEARTBEAT_S = 1.0
IDLE_HEARTBEAT_S = 2.5
"""Four of them fit into the silence that means death."""
MISSED_BEATS = 10
"""So many silent heartbeats mean dead."""

T = TypeVar("T")
log = get_logger(__name__)


class SchedulerLink(Generic[T]):
    """One DEALER to the scheduler, receiving messages of the union `T`."""

    def __init__(
        self,
        *,
        endpoint: str,
        identity: str,
        codec: Codec[T],
        hello: Callable[[], msgspec.Struct],
        beat: Callable[[], msgspec.Struct],
        on_message: Callable[[T, list[bytes]], None],
        on_new_scheduler: Callable[[], None] = lambda: None,
        is_idle: Callable[[], bool] = lambda: False,
    ) -> None:
        self._socket = Socket(Kind.DEALER, identity=identity)
        self._socket.connect(endpoint)  # now, so that what is sent before `run` waits in the socket
        self._codec = codec
        self._hello = hello
        self._beat = beat
        self._on_message = on_message
        self._on_new_scheduler = on_new_scheduler
        self._is_idle = is_idle
        self._stirred = trio.Event()
        self._last_heard = -float("inf")
        self.epoch = ""

    @property
    def is_connected(self) -> bool:
        """True iff the scheduler was heard within `MISSED_BEATS` heartbeats."""
        return trio.current_time() - self._last_heard < MISSED_BEATS * HEARTBEAT_S

    def send(self, message: msgspec.Struct, *payload: bytes) -> None:
        """Send a message, or leave it with the socket until a scheduler connects.

        Raises:
            Backlogged: too much waits there already.
        """
        self._socket.send_nowait([encode(message), *payload])

    def beat_now(self) -> None:
        """Send a heartbeat out of turn, for news that should not wait."""
        self._send_or_drop(self._beat())

    def stir(self) -> None:
        """Beat every `HEARTBEAT_S` from now on, for as long as the owner is not idle."""
        self._stirred.set()

    async def run(self) -> None:
        """Serve the link until cancelled, then close its socket."""
        with self._socket:
            self.send(self._hello())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._beat_forever)
                while True:
                    self._receive(await self._socket.receive())

    async def _beat_forever(self) -> None:
        while True:
            if not self._is_idle() or await self._is_stirred_within(IDLE_HEARTBEAT_S):
                await trio.sleep(HEARTBEAT_S)
            self._send_or_drop(self._beat())

    async def _is_stirred_within(self, timeout_s: float) -> bool:
        self._stirred = trio.Event()
        with trio.move_on_after(timeout_s):
            await self._stirred.wait()
        return self._stirred.is_set()

    def _send_or_drop(self, message: msgspec.Struct) -> None:
        try:
            self.send(message)
        except Backlogged:  # a scheduler that reads again asks who we are
            log.warning("the scheduler does not read: dropped %s", type(message).__name__)

    def _receive(self, frames: list[bytes]) -> None:
        try:
            message = self._codec.decode(frames[0])
        except (MalformedMessage, ProtocolMismatch) as error:
            log.error("dropped a message from the scheduler: %s", error)
            return
        self._last_heard = trio.current_time()
        if isinstance(message, Welcome | WhoAreYou):
            if isinstance(message, WhoAreYou):
                self._send_or_drop(self._hello())
            if message.epoch != self.epoch:
                known_one_before, self.epoch = bool(self.epoch), message.epoch
                if known_one_before:
                    self._on_new_scheduler()
            return
        self._on_message(message, frames[1:])
