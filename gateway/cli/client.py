"""The HTTP client of the commands: JSON out, JSON or NDJSON in, over http.client, which starts faster than httpx.

Connecting has a deadline, and so has the first look at a server; other answers have none, since a load may take minutes
and the server bounds it. Ctrl+C ends the wait: closing the connection is what tells the server to cancel.
"""

import http.client
import json
import platform
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gateway.cli.failures import ApiFailure, ServerUnreachable
from gateway.cli.target import Target, target_from

CONNECT_TIMEOUT_S = 10.0
_CHECK_TIMEOUT_S = 30.0
_READ_BYTES = 1 << 16

_LOCAL = {"127.0.0.1", "::1", "localhost"}
Json = dict[str, Any]


class Client:
    """One server; each call makes a connection of its own and closes it."""

    def __init__(self, target: Target | None = None) -> None:
        self._target = target or target_from()

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, as far as its address tells."""
        return self._target.host in _LOCAL

    def check(self) -> None:
        """Fail early where no server listens, or something that does not answer.

        Raises:
            ServerUnreachable: nothing answers.
        """
        try:
            with self._response("HEAD", "/", timeout_s=_CHECK_TIMEOUT_S):
                pass
        except TimeoutError as error:
            raise ServerUnreachable from error

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """Make one call and give the JSON object of its answer; an empty answer gives an empty object.

        Raises:
            ServerUnreachable: nothing answers.
            ApiFailure: the server answered with an error.
        """
        with self._response(method, path, body) as response:
            content = response.read()
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise ApiFailure(_error_text(content, response), status=response.status)
            return _object(content, response.status) if content.strip() else {}

    def stream(self, path: str, body: Json) -> Generator[Json, None, None]:
        """POST and yield the objects of an NDJSON answer as they come; closing the generator cancels the request.

        Raises:
            ServerUnreachable: nothing answers.
            ApiFailure: refused, in which case the text starts with the status line, or broken off.
        """
        with self._response("POST", path, body) as response:
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                text = _error_text(response.read(), response)
                raise ApiFailure(f"{_status_line(response.status)}: {text}", status=response.status)
            for line in response:
                if line.strip():
                    part = _object(line, response.status)
                    if error := part.get("error"):
                        raise ApiFailure(str(error), status=response.status)
                    yield part

    def has_blob(self, digest: str) -> bool:
        """Ask whether the store holds a blob."""
        with self._response("HEAD", f"/api/blobs/{digest}") as response:
            return response.status == http.HTTPStatus.OK

    def upload_blob(self, digest: str, chunks: Iterable[bytes], *, size_bytes: int) -> None:
        """Send a blob's content as it is read.

        Raises:
            ApiFailure: the store did not take it.
        """
        with self._response("POST", f"/api/blobs/{digest}", chunks=chunks, size_bytes=size_bytes) as response:
            content = response.read()
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise ApiFailure(_error_text(content, response), status=response.status)

    @contextmanager
    def _response(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        chunks: Iterable[bytes] | None = None,
        size_bytes: int = 0,
        timeout_s: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        headers = {"User-Agent": f"actorctl ({platform.machine()} {platform.system().lower()})"}
        content: bytes | Iterable[bytes] | None = chunks
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        elif chunks is not None:
            headers["Content-Length"] = str(size_bytes)
        connection = self._connect(timeout_s)
        try:
            try:
                # A server that refuses an upload may close before it has read all; its answer is there all the same.
                with suppress(ConnectionError):
                    connection.request(method, self._target.prefix + path, body=content, headers=headers)
                response = connection.getresponse()
            except (ConnectionError, http.client.HTTPException) as error:
                raise ApiFailure(f"the server closed the connection: {error}", status=0) from error
            try:
                yield response
            except (ConnectionError, http.client.HTTPException) as error:
                raise ApiFailure("the server closed the connection in the middle of its answer", status=0) from error
        finally:
            connection.close()

    def _connect(self, timeout_s: float | None) -> http.client.HTTPConnection:
        connect = http.client.HTTPSConnection if self._target.is_encrypted else http.client.HTTPConnection
        connection = connect(self._target.host, self._target.port, timeout=CONNECT_TIMEOUT_S)
        try:
            connection.connect()
        except OSError as error:
            raise ServerUnreachable from error
        connection.sock.settimeout(timeout_s)
        return connection


def _object(content: bytes, status: int) -> Json:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise ApiFailure(
            f"the server answered with something else than JSON: {content[:80]!r}", status=status
        ) from error
    if not isinstance(value, dict):
        raise ApiFailure(f"the server answered with something else than an object: {content[:80]!r}", status=status)
    return value


def _error_text(content: bytes, response: http.client.HTTPResponse) -> str:
    try:
        error = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        text = content.decode(errors="replace").strip()
        return text or _status_line(response.status)
    return str(error)


def _status_line(status: int) -> str:
    # Servers may leave the reason out, as HTTP/2 does; people expect to read it.
    return f"{status} {http.client.responses.get(status, '')}".rstrip()
