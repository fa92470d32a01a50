"""A client's TCP connection whose writes cannot hang.

Hypercorn shields its writes from cancellation, so a client that stops reading could hold up a shutdown for ever. Here
every wait for room in the socket has a deadline that closes the socket itself; shutting down closes it too.
"""

import os
import socket
import struct

import trio

WRITE_DEADLINE_S = 30.0
"""Per wait for room in the send buffer: a slow client that reads at all is never cut off."""
_READ_BYTES = 64 << 10
_READS_PER_CHECKPOINT = 16
_LINGER_NOT = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class ConnectionStream(trio.abc.HalfCloseableStream):
    """A socket stream that gives up on a client which takes nothing for `write_deadline_s`."""

    def __init__(self, inner: trio.SocketStream, *, write_deadline_s: float = WRITE_DEADLINE_S) -> None:
        self._inner = inner
        self._write_deadline_s = write_deadline_s
        self.socket = inner.socket
        self._n_reads = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`.

        Raises:
            trio.BrokenResourceError: the client is gone, or took nothing for too long.
            trio.ClosedResourceError: the connection was closed meanwhile.
        """
        view = memoryview(data)
        while view:
            with trio.move_on_after(self._write_deadline_s) as deadline:
                try:
                    view = view[await self.socket.send(view) :]
                except OSError as error:
                    raise trio.BrokenResourceError from error
            if deadline.cancelled_caught:
                self.abort()
                raise trio.BrokenResourceError("the client does not read")

    def send_now(self, data: bytes) -> bytes:
        """Send what the socket takes now, which is all of it as a rule, and give the rest.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as `send_all`.
        """
        if self.socket.fileno() < 0:
            raise trio.ClosedResourceError("the connection was closed")
        try:
            return data[os.write(self.socket.fileno(), data) :] if data else b""
        except BlockingIOError:
            return data
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room in the send buffer."""
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Wait for bytes from the client; none mean that it has sent all it will."""
        self._n_reads += 1
        if self._n_reads % _READS_PER_CHECKPOINT == 0:  # a client that never pauses must not starve the others
            await trio.lowlevel.checkpoint()
        while True:
            if self.socket.fileno() < 0:
                raise trio.ClosedResourceError("the connection was closed")
            try:
                return os.read(self.socket.fileno(), max_bytes or _READ_BYTES)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.socket)
            except OSError as error:
                raise trio.BrokenResourceError from error

    async def send_eof(self) -> None:
        """Tell the client that nothing follows."""
        await self._inner.send_eof()

    async def aclose(self) -> None:
        """Close the connection; what was sent is still delivered."""
        await self._inner.aclose()

    def abort(self) -> None:
        """Close the socket at once, with unsent data dropped; whoever waits on it gets an error. Idempotent."""
        if self.socket.fileno() >= 0:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self.socket.close()
