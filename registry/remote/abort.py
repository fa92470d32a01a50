"""Ending the blocking network calls of several threads at once."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class Aborted(Exception):
    """The transfer was told to end. Never reaches a user: whoever aborts knows."""


class Abort:
    """A flag that also wakes every thread which waits in one of the sockets it holds. Thread-safe."""

    def __init__(self) -> None:
        self._flag = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()

    @property
    def is_set(self) -> bool:
        """True iff all is to end."""
        return self._flag.is_set()

    def set(self) -> None:
        """End all: waits return, calls on held sockets fail. Idempotent."""
        with self._lock:
            self._flag.set()
            for each in self._sockets:
                # The base class's own: SSLSocket.shutdown would change the object under its reader.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)

    def check(self) -> None:
        """Raise if all is to end.

        Raises:
            Aborted: it is.
        """
        if self._flag.is_set():
            raise Aborted

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the end.

        Raises:
            Aborted: it came.
        """
        if self._flag.wait(seconds):
            raise Aborted

    @contextlib.contextmanager
    def holding(self, held: socket.socket) -> Iterator[None]:
        """Shut a socket down if the end comes during the block.

        Raises:
            Aborted: it had come already.
        """
        self.hold(held)
        try:
            yield
        finally:
            self.release(held)

    def hold(self, held: socket.socket) -> None:
        """Shut a socket down when the end comes.

        Raises:
            Aborted: it had come already; the socket is not held.
        """
        with self._lock:
            self.check()
            self._sockets.add(held)

    def release(self, held: socket.socket) -> None:
        """Forget a socket; idempotent."""
        with self._lock:
            self._sockets.discard(held)
