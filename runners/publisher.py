"""The runner's XPUB: parts to gateways go out, subscriptions and cancels come in. Owned by the decode thread.

A gateway subscribes to its own id as topic, with which each frame for it begins. Topics match by prefix, so ids have
one fixed length. What comes in and begins with 1 or 0 is a subscription or its end (zmq_socket(3), ZMQ_XPUB); other
frames are messages from the gateway.
"""

import dataclasses
import os

import zmq

from actors.codec import Codec
from actors.errors import MalformedMessage
from actors.log import get_logger
from actors.messages.gateway_to_runner import CancelAtRunner, FromSubscriber
from actors.transport import NOBLOCK, configure, has_input

log = get_logger(__name__)

_MOST_RECEIVED = 256  # per call: a chatty peer must not hold up the step


@dataclasses.dataclass(frozen=True, slots=True)
class Subscribed:
    """A gateway listens from now on."""

    gateway_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A gateway's connection is gone."""

    gateway_id: str


Upstream = Subscribed | Unsubscribed | CancelAtRunner


class Publisher:
    """An XPUB bound to the runner's endpoint, and the means to wake the thread that waits on it."""

    def __init__(self, endpoint: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
        configure(self._socket)
        self._socket.bind(endpoint)
        self._codec: Codec[FromSubscriber] = Codec(FromSubscriber)
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_woken = False
        """True iff `_wake_fd` is to be read; whoever waits looks for news only after this was set back."""
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._wake_fd, zmq.POLLIN)

    def send(self, gateway_id: str, frame: bytes) -> bool:
        """Publish a frame under a gateway's topic; False when its queue is full."""
        try:
            self._socket.send(gateway_id.encode() + frame, NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive(self) -> list[Upstream]:
        """Take what gateways sent, without waiting."""
        received: list[Upstream] = []
        while len(received) < _MOST_RECEIVED and has_input(self._socket):
            try:
                frame = self._socket.recv(NOBLOCK)
            except zmq.Again:
                break
            if frame[:1] in (b"\x00", b"\x01"):
                gateway_id = frame[1:].decode("utf-8", "replace")
                received.append(Subscribed(gateway_id) if frame[0] else Unsubscribed(gateway_id))
                continue
            try:
                received.append(self._codec.decode(frame))
            except MalformedMessage as error:
                log.error("dropped a message from a gateway: %s", error)
        return received

    def wait(self, timeout_s: float | None) -> None:
        """Sleep until a gateway sent something, `wake` was called or the time is over."""
        ready = self._poller.poll(None if timeout_s is None else max(0, round(timeout_s * 1000)))
        for source, _ in ready:
            if source == self._wake_fd:
                os.eventfd_read(self._wake_fd)
                self._is_woken = False

    def wake(self) -> None:
        """End a `wait`, now or the next one; the only method for other threads."""
        if not self._is_woken:
            self._is_woken = True
            os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """Close the socket; unsent messages linger for the bound that all sockets share.

        The eventfd stays open until the process ends: another thread may be about to `wake`.
        """
        self._socket.close()
