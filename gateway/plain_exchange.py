"""The short way for an ordinary request of HTTP/1.1: its head is read and its answer framed here, without h11's events.

Ordinary is a GET or POST whose head came in one piece, with a body of the length it tells or none, on a connection that
is to stay open. Everything else, malformed requests included, is left to h11, which sees it from its first byte;
so nothing here is lenient, and no request means another thing to the one than to the other.
Source: RFC 9112, sections 2 to 7.
"""

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import unquote
from wsgiref.handlers import format_date_time

import trio
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, HTTPScope

from gateway.access_log import log_access

_HEAD = re.compile(rb"(GET|POST) (/[!-~]*) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)*)\r\n", re.ASCII)
_UNUSUAL = frozenset({b"transfer-encoding", b"connection", b"expect", b"upgrade", b"http2-settings", b"trailer", b"te"})
_MOST_HEAD_BYTES = 8 << 10
_MOST_DIGITS = 9
_NO_BODY = frozenset({204, 304})

Headers = list[tuple[bytes, bytes]]


class OnEnd(Protocol):
    """Is told that an exchange is over."""

    async def __call__(self, *, stays_open: bool) -> None:
        """Go on with the connection, or close it."""
        ...


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """An ordinary request."""

    method: str
    target: bytes
    headers: Headers
    body: bytes
    missing_bytes: int
    """How much of the body has not come yet."""


def plain_request(data: bytes) -> PlainRequest | None:
    """Read a request; None when it is not ordinary, or when more came than one request."""
    found = _HEAD.match(data, 0, _MOST_HEAD_BYTES)
    if found is None:
        return None
    headers: Headers = []
    n_hosts, lengths = 0, []
    for line in found[3].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"host":
            n_hosts += 1
        elif name == b"content-length":
            lengths.append(value)
        elif name in _UNUSUAL and (name, value.lower()) != (b"connection", b"keep-alive"):
            return None
        headers.append((name, value))
    body = data[found.end() :]
    n_body = _number(lengths[0]) if len(lengths) == 1 else 0
    if n_hosts != 1 or len(lengths) > 1 or n_body is None or len(body) > n_body:
        return None
    return PlainRequest(found[1].decode(), found[2], headers, body, n_body - len(body))


def _number(digits: bytes) -> int | None:
    return int(digits) if digits.isdigit() and len(digits) <= _MOST_DIGITS else None


class PlainExchange:
    """One ordinary request and its answer, which goes to `write`."""

    def __init__(self, scope: HTTPScope, write: Callable[[bytes], Awaitable[None]], on_end: OnEnd) -> None:
        """Begin; `on_end` is called once."""
        self.scope = scope
        self.over = trio.Event()
        self._write = write
        self._on_end = on_end
        self._started = time.perf_counter()
        self._status = 0
        self._is_chunked = False
        self._stays_open = True
        self.put: Callable[[ASGIReceiveEvent], Awaitable[None]]
        """Takes what the client sends, once the request's task was started."""

    @property
    def writes_chunks(self) -> bool:
        """Whether pieces of a body are due, each as a chunk."""
        return self._is_chunked and not self.over.is_set()

    async def send(self, message: ASGISendEvent | None) -> None:
        """Take a piece of the answer, as ASGI has them; None at the end of the request's task."""
        if message is None:
            await self._give_up()
        elif message["type"] == "http.response.start":
            self._status = message["status"]
            await self._write(self._head(cast("Headers", message["headers"])))
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            if body and self._status not in _NO_BODY:
                await self._write(b"%x\r\n%b\r\n" % (len(body), body) if self._is_chunked else body)
            if not message.get("more_body", False):
                await self._end()

    def _head(self, headers: Headers) -> bytes:
        lines = [b"HTTP/1.1 %d " % self._status]
        has_length = False
        for name, value in headers:
            lines.append(name + b": " + value)
            has_length |= name == b"content-length"
            if name == b"connection" and value == b"close":
                self._stays_open = False
        lines.append(_date_line())
        self._is_chunked = not has_length and self._status not in _NO_BODY
        if self._is_chunked:
            lines.append(b"transfer-encoding: chunked")
        lines.append(b"\r\n")
        return b"\r\n".join(lines)

    async def _end(self) -> None:
        if self._is_chunked:
            await self._write(b"0\r\n\r\n")
        log_access(self.scope, self._status, time.perf_counter() - self._started)
        self.over.set()
        await self._on_end(stays_open=self._stays_open)

    async def _give_up(self) -> None:
        """End an answer that was not written to its end: it failed by a bug, or its client has left."""
        if self.over.is_set():
            return
        if not self._status:
            await self.send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0")]})
        self.over.set()
        await self._on_end(stays_open=False)


def scope_of(request: PlainRequest, *, scheme: str, client: object, server: object, state: object) -> HTTPScope:
    """Give what ASGI tells an app of a request."""
    path, _, query = request.target.partition(b"?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "method": request.method,
        "scheme": scheme,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": request.headers,
        "client": client,
        "server": server,
        "state": state,
        "extensions": {},
    }
    return cast("HTTPScope", scope)


_dates: dict[int, bytes] = {}


def _date_line() -> bytes:
    """Give the `date` of this second, which is written once."""
    now = int(time.time())
    line = _dates.get(now)
    if line is None:
        _dates.clear()
        line = _dates[now] = b"date: " + format_date_time(now).encode()
    return line
