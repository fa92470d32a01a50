"""A server double: answers the routes that the command line uses, from tables that a test fills."""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Reply = tuple[int, list[Any]]
"""Status and the JSON objects of the body; more than one makes NDJSON."""


@dataclass
class Double:
    """What the double answers, what it holds, and what it was asked."""

    replies: dict[str, Reply | Callable[[Any], Reply]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, Any]] = field(default_factory=list)
    address: str = ""
    blob_folder: Path | None = None
    """A store's folder of blobs, which count as its own."""

    def asked(self, route: str) -> list[Any]:
        """Give the bodies of the requests to one route."""
        return [body for asked, body in self.requests if asked == route]


def serve(double: Double) -> ThreadingHTTPServer:
    """Start a server for a double on a free port; the caller shuts it down."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: _Handler(double, *args))
    double.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, double: Double, *args: Any) -> None:
        self._double = double
        super().__init__(*args)

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        if self.path.startswith("/api/blobs/"):
            digest, folder = self.path.rpartition("/")[2], self._double.blob_folder
            is_linked = folder is not None and (folder / digest.replace(":", "-")).is_file()
            self._send(200 if is_linked or digest in self._double.blobs else 404, b"")
        else:
            self._send(200, b"")

    def do_POST(self) -> None:
        if self.path.startswith("/api/blobs/"):
            self._take_blob(self.path.rpartition("/")[2])
        else:
            self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _take_blob(self, digest: str) -> None:
        content = self._body()
        if digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
            self._send(400, b'{"error":"digest mismatch"}')
            return
        self._double.blobs[digest] = content
        self._send(201, b"")

    def _answer(self, method: str) -> None:
        route = f"{method} {self.path}"
        body = json.loads(self._body() or b"null")
        self._double.requests.append((route, body))
        reply = self._double.replies.get(route, (404, [{"error": "404 page not found"}]))
        status, objects = reply(body) if callable(reply) else reply
        self._send(status, b"".join(json.dumps(value).encode() + b"\n" for value in objects))

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
