"""ZeroMQ sockets on trio: the only module where the two meet.

Theory of operation. Every operation first tries the native call with NOBLOCK and waits for the socket's descriptor
only when that fails. The descriptor is edge-triggered and *any* call on the socket may consume its edge, so after
each call that could have done so the EVENTS option is read again, and a parked receiver is woken when it shows
input: what it waits for is an epoll descriptor over the socket's own and an eventfd of ours, because a cancel scope
for every wait would cost a gateway a fifth of its time per token. All of a `Socket` is used from one thread; one task
receives, any task of that thread may send.

Bounds: each direction of each peer holds at most `_HIGH_WATER_MESSAGES` messages, a frame at most `MAX_FRAME_BYTES`;
what does not fit is refused: by `Backlogged` and `FrameTooLarge` (sending), by dropping the peer's connection
(receiving). Closing drops unsent messages after `_LINGER_MS`.

Cancellation: `receive` and `send` may be cancelled at any point and lose nothing.
Source: zmq_getsockopt(3), ZMQ_FD and ZMQ_EVENTS; zmq_socket(3), ROUTER, XPUB and XSUB.
"""

import contextlib
import enum
import fcntl
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import trio
import zmq

from actors.errors import AlreadyRunning, Backlogged, FrameTooLarge, ListenFailed, PeerUnreachable, RunFolderUnusable

MAX_FRAME_BYTES = 256 << 20
_HIGH_WATER_MESSAGES = 10_000
_LINGER_MS = 500
_RECONNECT_MS = 20
_RECONNECT_MAX_MS = 500
_RECEIVES_PER_CHECKPOINT = 64
NOBLOCK, _EVENTS, _POLLIN = int(zmq.NOBLOCK), int(zmq.EVENTS), int(zmq.POLLIN)
"""As plain numbers: arithmetic with enums takes longer than the calls they are for."""
_NOBLOCK_MORE = NOBLOCK | int(zmq.SNDMORE)
_send, _receive = zmq.backend.Socket.send, zmq.backend.Socket.recv
"""Without the layer above them, whose checks take longer than they."""


class Kind(enum.IntEnum):
    """The socket types in use."""

    DEALER = zmq.DEALER
    ROUTER = zmq.ROUTER
    XPUB = zmq.XPUB
    XSUB = zmq.XSUB


def configure(socket: "zmq.Socket[bytes]", *, identity: str = "") -> None:
    """Set the bounds and habits that all our sockets share."""
    socket.setsockopt(zmq.LINGER, _LINGER_MS)
    socket.setsockopt(zmq.SNDHWM, _HIGH_WATER_MESSAGES)
    socket.setsockopt(zmq.RCVHWM, _HIGH_WATER_MESSAGES)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
    kind = socket.getsockopt(zmq.TYPE)
    if kind == zmq.ROUTER:
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # an unknown peer is an error, not a silent loss
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a peer that reconnects under its name replaces its old self
    elif kind == zmq.XPUB:
        socket.setsockopt(zmq.XPUB_NODROP, 1)  # at the high-water mark refuse, so that the runner can merge
    if identity:
        socket.setsockopt_string(zmq.IDENTITY, identity)


def has_input(socket: "zmq.Socket[bytes]") -> bool:
    """Tell whether a message can be received; asking is cheaper than the exception of a receive that finds none."""
    return bool(int(socket.getsockopt(_EVENTS)) & _POLLIN)


class Socket:
    """One ZeroMQ socket owned by one trio thread."""

    def __init__(self, kind: Kind, *, identity: str = "") -> None:
        self._kind = kind
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
        configure(self._socket, identity=identity)
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._input = select.epoll()  # readable when the socket has news, or when `_wakeup` says so
        self._input.register(self._socket.getsockopt(zmq.FD), select.EPOLLIN)
        self._input.register(self._wakeup, select.EPOLLIN)
        self._input_fd = self._input.fileno()
        self._is_parked = False  # True iff a task waits in `receive`
        self._is_woken = False  # True iff `_wakeup` is to be read
        self._n_received = 0

    def bind(self, endpoint: str) -> None:
        """Bind; on an ipc path this steals a living socket, so hold the folder's lock (`lock_folder`) first.

        Raises:
            ListenFailed: the address is in use, or not ours.
        """
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise ListenFailed(endpoint, str(error.strerror).lower()) from error

    def connect(self, endpoint: str) -> None:
        """Connect, now or whenever the peer appears."""
        self._socket.connect(endpoint)
        self._wake_receiver()

    async def receive(self) -> list[bytes]:
        """Wait for one message and return its frames."""
        self._n_received += 1
        if self._n_received % _RECEIVES_PER_CHECKPOINT == 0:
            await trio.lowlevel.checkpoint()  # a peer that never pauses must not starve the other tasks
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        may_have = has_input(self._socket)
        while True:
            if may_have:
                try:
                    return self._take()
                except zmq.Again:
                    may_have = has_input(self._socket)
                    continue
            self._is_parked = True
            try:
                await trio.lowlevel.wait_readable(self._input_fd)
            finally:
                self._is_parked = False
                if self._is_woken:
                    self._is_woken = False
                    os.eventfd_read(self._wakeup)
            may_have = True  # as a rule: asking first would cost every message a call

    def receive_nowait(self) -> list[bytes] | None:
        """Return the frames of a message that is here already, or None. Only for the task that receives."""
        while has_input(self._socket):
            with contextlib.suppress(zmq.Again):
                return self._take()
        return None

    def send_nowait(self, frames: list[bytes]) -> None:
        """Send one message or refuse it whole.

        Raises:
            Backlogged: the peer's queue is full (DEALER: also when no peer has connected for that long).
            PeerUnreachable: ROUTER only: no peer has the identity in the first frame.
            FrameTooLarge: the peer would drop the connection for it.
        """
        for frame in frames:
            if len(frame) > MAX_FRAME_BYTES:
                raise FrameTooLarge(n_bytes=len(frame), max_bytes=MAX_FRAME_BYTES)
        try:
            for frame in frames[:-1]:
                _send(self._socket, frame, _NOBLOCK_MORE)
            _send(self._socket, frames[-1], NOBLOCK)
        except zmq.Again as error:
            raise Backlogged(f"{self._kind.name} queue is full") from error
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            raise PeerUnreachable(f"no peer {frames[0]!r} is connected") from error
        finally:
            self._wake_receiver()

    def close(self) -> None:
        """Close the socket; idempotent. A task parked in `receive` must have been cancelled before."""
        if not self._socket.closed:
            self._input.close()
            os.close(self._wakeup)
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _take(self) -> list[bytes]:
        """Take a message that is here; what an XSUB is sent is one frame, so that no call asks for more."""
        if self._kind is Kind.XSUB:
            return [_receive(self._socket, NOBLOCK)]
        frame: zmq.Frame = _receive(self._socket, NOBLOCK, False)  # noqa: FBT003  # not copied, so that it tells of more
        frames = [frame.bytes]
        while frame.more:
            frame = _receive(self._socket, NOBLOCK, False)  # noqa: FBT003  # the same
            frames.append(frame.bytes)
        return frames

    def _wake_receiver(self) -> None:
        if self._is_parked and not self._is_woken and has_input(self._socket):
            self._is_woken = True
            os.eventfd_write(self._wakeup, 1)


def flush() -> None:
    """Close all sockets of this process and wait, for at most `_LINGER_MS`, until what they hold is out.

    The last use of this module in a process: neither the interpreter's exit nor `os._exit` does this, and a farewell
    sent just before them is lost.
    """
    zmq.Context.instance().destroy(linger=_LINGER_MS)


@contextlib.contextmanager
def lock_folder(folder: Path, name: str) -> Iterator[None]:
    """Create a run folder with mode 0700 and hold its lock `name` while the block runs.

    Raises:
        AlreadyRunning: another living process holds it.
        RunFolderUnusable: the folder cannot be made, or belongs to somebody else.
    """
    try:
        descriptor = _open_lock(folder, name)
    except OSError as error:
        raise RunFolderUnusable(str(folder), error.strerror or str(error)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(str(folder)) from error
        if not _is_file_at(descriptor, folder / f"{name}.lock"):
            # Its last holder has just removed it on the way out; our lock would keep nobody out.
            raise AlreadyRunning(str(folder))
        yield
    finally:
        os.close(descriptor)


def _open_lock(folder: Path, name: str) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # In a shared /tmp somebody else may have made the folder first, to get at our sockets.
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise RunFolderUnusable(str(folder), f"it belongs to user {owner}")
    folder.chmod(0o700)
    return os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _is_file_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
