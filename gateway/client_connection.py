"""One TCP connection under Hypercorn, with two of Hypercorn 0.18's defects mended.

It leaves the idle timer of a connection running when the client hangs up, and the connection waits for that timer:
with our idle time each would linger for more than a minute. And over HTTP/2 it ends a whole connection when a client
is still sending a body whose request was answered already.
"""

from hypercorn.events import Event, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.tcp_server import TCPServer


class _Answered:
    """Stands in for an HTTP/2 stream that is over: what still comes for it is dropped."""

    idle = True

    async def handle(self, event: StreamEvent) -> None:
        """Drop it."""


class _Streams(dict[int, object]):
    """Hypercorn's streams of one HTTP/2 connection; one that is not there any more takes anything."""

    def __missing__(self, _stream_id: int) -> _Answered:
        return _Answered()


class ClientConnection(TCPServer):
    """Serves one client until one side closes."""

    _has_hung_up = False

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol wants: write, close or time the idle connection."""
        protocol = self.protocol.protocol
        if isinstance(protocol, H2Protocol) and not isinstance(protocol.streams, _Streams):
            protocol.streams = _Streams(protocol.streams)  # type: ignore[assignment]  # what it is asked for, it has
        if self._has_hung_up and isinstance(event, Updated):
            return
        await super().protocol_send(event)

    async def _read_data(self) -> None:
        await super()._read_data()
        self._has_hung_up = True
        await self.idle_task.stop()
