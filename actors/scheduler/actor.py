"""The scheduler's shell: one ROUTER, one clock, one task. Everything that is decided is decided in `machine`.

Theory of operation. The task waits for a message or the core's next deadline, whichever comes first. Before a tick
it hands on all input that is there, so that no peer is judged silent whose heartbeat lies in our own socket. With
nothing to do it wakes only for heartbeats, a few times a second.

Ordering: effects are sent in the order the core gave them; what the socket refuses goes back into the core as
`Undelivered` before the next message is read. Cancellation: the socket closes and its file is removed; peers keep
what they have and speak to the next scheduler.
"""

import math
import secrets
import signal
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from actors import sdnotify
from actors.codec import Codec, encode
from actors.errors import Backlogged, Bug, MalformedMessage, PeerUnreachable, ProtocolMismatch
from actors.log import get_logger
from actors.messages.gateway_to_scheduler import FromGateway
from actors.messages.launcher_to_scheduler import FromLauncher
from actors.messages.runner_to_scheduler import FromRunner
from actors.scheduler.events import Effect, Event, Note, Received, Tick, Undelivered
from actors.scheduler.machine import Scheduler
from actors.settings import Settings
from actors.transport import Kind, Socket, lock_folder

_DRAINED_AT_ONCE = 10_000
"""Messages read before an overdue tick; more than a high-water mark's worth means a flood, which must not stop time."""
_TAKEN_TOGETHER = 32
_CHECK_S = 30.0
"""How often the invariants are checked in production, when a tick finds the input empty."""

_codec: Codec[FromGateway | FromLauncher | FromRunner] = Codec(FromGateway | FromLauncher | FromRunner)
log = get_logger(__name__)


async def run_scheduler(settings: Settings, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve as the scheduler of a run folder until cancelled; `started` is called once peers can connect.

    Raises:
        AlreadyRunning: another scheduler holds the run folder.
    """
    with lock_folder(settings.run_dir, "scheduler"), Socket(Kind.ROUTER) as socket:
        path = _socket_path(settings.scheduler_endpoint)
        if path is not None:
            path.unlink(missing_ok=True)  # a killed predecessor's: we hold its lock
        socket.bind(settings.scheduler_endpoint)
        if path is not None:
            path.chmod(0o600)
        try:
            shell = SchedulerShell(socket, settings)
            sdnotify.notify("READY=1")
            log.info("scheduler %s listens on %s", shell.epoch, settings.scheduler_endpoint)
            task_status.started()
            await shell.run_until_bug(settings.run_dir / "scheduler-events.pickle")
        finally:
            if path is not None:
                path.unlink(missing_ok=True)


class SchedulerShell:
    """Carries messages and time into the core and its effects out; owned by one task."""

    def __init__(self, socket: Socket, settings: Settings) -> None:
        self.epoch = secrets.token_hex(8)
        self._socket = socket
        self._core = Scheduler(epoch=self.epoch, settings=settings, now_s=trio.current_time())
        self._watchdog_s = sdnotify.watchdog_interval_s()
        self._next_ping_s = trio.current_time() if math.isfinite(self._watchdog_s) else math.inf
        self._next_check_s = trio.current_time() + _CHECK_S

    async def run_until_bug(self, journal_path: Path) -> None:
        """Serve until cancelled; on SIGUSR1, and on a bug, write the event log to a file for `replay`.

        Raises:
            Bug: an invariant is broken.
        """
        try:
            with trio.open_signal_receiver(signal.SIGUSR1) as signals:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._dump_on_signal, signals, journal_path)
                    await self.run()
        except* Bug as bugs:
            self._keep_journal(journal_path)
            raise bugs.exceptions[0] from None

    async def _dump_on_signal(self, signals: AsyncIterator[int], path: Path) -> None:
        async for _ in signals:
            self._keep_journal(path)

    def _keep_journal(self, path: Path) -> None:
        # Once in a life, or when somebody asks: it may hold up the loop for some milliseconds.
        path.write_bytes(self._core.journal.dump())
        log.warning("%d events are in %s: see python -m actors.scheduler.replay", len(self._core.journal), path)

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            due_s = min(self._core.next_deadline(), self._next_ping_s)
            with trio.move_on_at(due_s) as scope:
                self._take(await self._socket.receive())
                self._drain_input(_TAKEN_TOGETHER)  # a cancel scope for each would cost half of what its message does
            if scope.cancelled_caught or trio.current_time() >= due_s:
                self._drain_input(_DRAINED_AT_ONCE)
                self._look_at_the_clock()

    def _drain_input(self, most: int) -> None:
        for _ in range(most):
            frames = self._socket.receive_nowait()
            if frames is None:
                return
            self._take(frames)

    def _look_at_the_clock(self) -> None:
        now_s = trio.current_time()
        if self._core.next_deadline() <= now_s:
            self._handle(Tick())
        if now_s >= self._next_ping_s:
            sdnotify.notify("WATCHDOG=1")
            self._next_ping_s = now_s + self._watchdog_s
        if now_s >= self._next_check_s:
            self._core.check_invariants()
            self._next_check_s = now_s + _CHECK_S

    def _take(self, frames: list[bytes]) -> None:
        """Decode one message and hand it to the core."""
        try:
            sender = frames[0].decode("ascii")
            message = _codec.decode(frames[1] if len(frames) > 1 else b"")
        except (MalformedMessage, ProtocolMismatch, UnicodeDecodeError) as error:
            log.error("dropped a message from peer %r: %s", frames[0], error)
            return
        self._handle(Received(sender, message, tuple(frames[2:])))

    def _handle(self, event: Event) -> None:
        events: deque[Event] = deque([event])
        while events:
            for effect in self._core.handle(events.popleft(), trio.current_time()):
                refused = self._apply(effect)
                if refused is not None:
                    events.append(refused)

    def _apply(self, effect: Effect) -> Undelivered | None:
        if isinstance(effect, Note):
            log.log(effect.level, "%s", effect.text)
            return None
        try:
            self._socket.send_nowait([effect.peer.encode(), encode(effect.message), *effect.payload])
        except (PeerUnreachable, Backlogged) as error:
            log.debug("%s to %s was not delivered: %s", type(effect.message).__name__, effect.peer, error)
            return Undelivered(effect)
        return None


def _socket_path(endpoint: str) -> Path | None:
    return Path(endpoint.removeprefix("ipc://")) if endpoint.startswith("ipc:///") else None
