"""One TCP connection under Hypercorn, closed as soon as its client has closed it.

Hypercorn 0.18 leaves the idle timer of a connection running when the client hangs up, and the connection waits for
that timer: with our idle time each would linger for more than a minute.
"""

from hypercorn.events import Event, Updated
from hypercorn.trio.tcp_server import TCPServer


class ClientConnection(TCPServer):
    """Serves one client until one side closes."""

    _has_hung_up = False

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol wants: write, close or time the idle connection."""
        if self._has_hung_up and isinstance(event, Updated):
            return
        await super().protocol_send(event)

    async def _read_data(self) -> None:
        await super()._read_data()
        self._has_hung_up = True
        await self.idle_task.stop()
