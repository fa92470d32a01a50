"""A client in slow motion: one HTTP request on a connection of its own, read piece by piece, or not at all."""

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import h11
import trio

from tests.support.server import DEADLINE_S

_READ_BYTES = 64 << 10


class ConnectionCut(Exception):
    """The server closed the connection before its answer was complete."""


class Exchange:
    """One request and its answer."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._protocol = h11.Connection(h11.CLIENT)
        self._unread = b""
        self._has_ended = False
        self.status = 0
        self.headers: dict[str, str] = {}

    @property
    def local_port(self) -> int:
        """Our end of the connection."""
        return int(self._stream.socket.getsockname()[1])

    @classmethod
    async def start(cls, port: int, path: str, body: Mapping[str, Any] | None, *, buffer_bytes: int = 0) -> Self:
        """Connect and send a request, a POST if it has a body.

        Args:
            port: of the server, on this machine.
            path: what to ask.
            body: sent as JSON.
            buffer_bytes: of our receive buffer; 0 leaves the system's own.
        """
        content = b"" if body is None else json.dumps(body).encode()
        with trio.fail_after(DEADLINE_S):
            exchange = cls(await _connect(port, buffer_bytes))
            try:
                await exchange._send(
                    h11.Request(
                        method="GET" if body is None else "POST",
                        target=path,
                        headers=[("Host", "localhost"), ("Content-Length", str(len(content)))],
                    )
                )
                await exchange._send(h11.Data(content))
                await exchange._send(h11.EndOfMessage())
            except BaseException:
                await trio.aclose_forcefully(exchange._stream)
                raise
        return exchange

    async def head(self) -> int:
        """Wait for the status and the headers; give the status."""
        event = await self._next_event()
        assert isinstance(event, h11.Response)
        self.status = event.status_code
        self.headers = {name.decode().title(): value.decode() for name, value in event.headers}
        return self.status

    async def line(self) -> str | None:
        """Wait for the next line of the body, without its newline; None after the last.

        Raises:
            ConnectionCut: the connection ended first.
        """
        if not self.status:
            await self.head()
        while b"\n" not in self._unread and not self._has_ended:
            event = await self._next_event()
            self._has_ended = isinstance(event, h11.EndOfMessage)
            self._unread += event.data if isinstance(event, h11.Data) else b""
        if not self._unread:
            return None
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    async def lines(self) -> list[str]:
        """Wait for all the lines that are left, empty ones left out."""
        found = []
        while (line := await self.line()) is not None:
            found += [line] if line else []
        return found

    async def _send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        await self._stream.send_all(self._protocol.send(event) or b"")

    async def _next_event(self) -> h11.Event:
        with trio.fail_after(DEADLINE_S):
            while True:
                try:
                    event = self._protocol.next_event()
                    if isinstance(event, h11.Event):
                        return event
                    self._protocol.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))
                except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
                    raise ConnectionCut(str(error)) from error

    async def leave(self) -> None:
        """Close the connection, whatever is under way."""
        await self._stream.aclose()


@asynccontextmanager
async def asking(
    port: int, path: str, body: Mapping[str, Any] | None = None, *, buffer_bytes: int = 0
) -> AsyncIterator[Exchange]:
    """Send a request and leave at the end of the block, answered or not."""
    exchange = await Exchange.start(port, path, body, buffer_bytes=buffer_bytes)
    try:
        yield exchange
    finally:
        await exchange.leave()


async def answer(port: int, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """Ask, wait for the whole answer, and give its status and its JSON."""
    async with asking(port, path, body) as exchange:
        lines = await exchange.lines()
        return exchange.status, json.loads("\n".join(lines)) if lines else None


async def _connect(port: int, buffer_bytes: int) -> trio.SocketStream:
    connection = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if buffer_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        await connection.connect(("127.0.0.1", port))
    except BaseException:
        connection.close()
        raise
    return trio.SocketStream(connection)
