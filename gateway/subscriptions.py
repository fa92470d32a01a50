"""The gateway's subscriptions: one XSUB per runner, each read by a task of its own.

A subscription is opened when the scheduler announces a runner (or grants a job on one that was not announced yet) and
closed when the runner is gone. Cancels travel upstream on the same socket, so that they need no scheduler.

Bounds: one socket and one task per living runner; each socket holds what the transport allows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from actors.codec import Codec, encode
from actors.errors import Backlogged, MalformedMessage, ProtocolMismatch
from actors.log import get_logger
from actors.messages.gateway_to_runner import CancelAtRunner
from actors.messages.runner_to_gateway import Step
from actors.transport import Kind, Socket

log = get_logger(__name__)
_codec: Codec[Step] = Codec(Step)
_SUBSCRIBE = b"\x01"


@dataclass(frozen=True, slots=True)
class _Subscription:
    socket: Socket
    scope: trio.CancelScope


class Subscriptions:
    """Owns the XSUB sockets of one gateway worker."""

    def __init__(
        self,
        gateway_id: str,
        *,
        on_step: Callable[[str, Step], None],
        on_broken: Callable[[str, MalformedMessage | ProtocolMismatch], None],
    ) -> None:
        self._topic = gateway_id.encode()
        self._on_step = on_step
        self._on_broken = on_broken
        self._open: dict[str, _Subscription] = {}
        self._nursery: trio.Nursery | None = None

    @property
    def runner_ids(self) -> frozenset[str]:
        """The runners that are subscribed to."""
        return frozenset(self._open)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the subscriptions until cancelled, then close their sockets."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def open(self, runner_id: str, endpoint: str) -> None:
        """Subscribe to a runner; one that is subscribed to already stays as it is."""
        if runner_id in self._open or self._nursery is None:
            return
        subscription = _Subscription(Socket(Kind.XSUB), trio.CancelScope())
        self._open[runner_id] = subscription
        subscription.socket.connect(endpoint)
        subscription.socket.send_nowait([_SUBSCRIBE + self._topic])
        self._nursery.start_soon(self._read, runner_id, subscription)

    def close(self, runner_id: str) -> None:
        """Unsubscribe from a runner; unknown ids are ignored."""
        subscription = self._open.pop(runner_id, None)
        if subscription is not None:
            subscription.scope.cancel()

    def cancel(self, runner_id: str, job_id: str) -> None:
        """Tell a runner that nobody waits for a job; a runner that is gone needs no telling."""
        subscription = self._open.get(runner_id)
        if subscription is None:
            return
        try:
            subscription.socket.send_nowait([encode(CancelAtRunner(job_id=job_id))])
        except Backlogged:
            log.warning("runner %s does not read: the cancel of job %s goes through the scheduler", runner_id, job_id)

    async def _read(self, runner_id: str, subscription: _Subscription) -> None:
        with subscription.socket, subscription.scope:
            while True:
                frame = (await subscription.socket.receive())[0]
                try:
                    step = _codec.decode(frame[len(self._topic) :])
                except (MalformedMessage, ProtocolMismatch) as error:
                    self._on_broken(runner_id, error)
                else:
                    self._on_step(runner_id, step)
