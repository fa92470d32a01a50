"""A registry of our own that can misbehave on purpose: slow, cut, corrupt, compressed, endless, 429, 5xx, redirects.

It holds models in memory, speaks the protocol that registries speak, and counts every byte it sends, so that a test
can prove what was fetched again. Its `misbehave` sees every request before it is answered.
"""

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from registry.manifests import CONFIG, MANIFEST, WEIGHTS

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_PATH = re.compile(r"/v2/([^/]+/[^/]+)/(manifests|blobs|chunksums)/(.+)")
_UPLOAD = re.compile(r"/v2/([^/]+/[^/]+)/blobs/uploads/(\w*)")
_SEND_BYTES = 1 << 16
_SUM_BYTES = 1 << 20


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    number: int
    """How many came before it, over all connections."""

    @property
    def range(self) -> tuple[int, int] | None:
        """First and last byte that are asked for."""
        found = _RANGE.fullmatch(self.headers.get("range", ""))
        return (int(found[1]), int(found[2])) if found and found[2] else None

    def is_for(self, kind: str) -> bool:
        """Tell whether it is for a manifest (`manifests`), a blob (`blobs`) or sums (`chunksums`)."""
        return f"/{kind}/" in self.path


@dataclass
class Answer:
    """What is sent; a test changes what it wants to be wrong."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    is_endless: bool = False
    """Repeat the body for ever, without a length."""
    pause: Callable[[], object] = lambda: None
    """Called before each 64 KiB of the body."""


Misbehave = Callable[[Asked, Answer], Answer | None]


@dataclass
class WildRegistry:
    """What it holds, how it errs, and what it has seen."""

    manifests: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    """Other paths, such as a plain file's."""
    misbehave: Misbehave | None = None
    refuse: Callable[[Asked], Answer | None] | None = None
    """Answers a request that writes before its body is read, if it answers."""
    has_ranges: bool = True
    has_sums: bool = False
    requests: list[Asked] = field(default_factory=list)
    sent: list[tuple[str, int, int]] = field(default_factory=list)
    """Path, offset and length of each body that was sent, as far as it was."""
    counting: threading.Lock = field(default_factory=threading.Lock)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    """Open sessions, by id."""
    port: int = 0

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def add_blob(self, content: bytes) -> str:
        """Hold a blob."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return digest

    def add_model(self, name: str, *layers: tuple[str, bytes], config: bytes = b'{"model_format":"gguf"}') -> str:
        """Hold a model `namespace/model:tag` and give the manifest's digest."""
        entries = [
            {"mediaType": kind, "digest": self.add_blob(content), "size": len(content)} for kind, content in layers
        ]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": self.add_blob(config), "size": len(config)},
            "layers": entries,
        }
        return self.add_manifest(name, manifest)

    def add_manifest(self, name: str, manifest: Any) -> str:
        """Hold a manifest, whatever it says."""
        content = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        self.manifests[name] = content
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def add_weights(self, name: str, content: bytes) -> str:
        """Hold a model of weights alone and give their digest."""
        self.add_model(name, (WEIGHTS, content))
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def sent_bytes(self, part: str) -> int:
        """Count the bytes of all bodies whose path contains a text."""
        return sum(length for path, _, length in self.sent if part in path)

    def take(self, asked: Asked, body: bytes) -> Answer:
        """Give the right answer to a request that writes."""
        found = _UPLOAD.fullmatch(asked.path.partition("?")[0])
        query = parse_qs(asked.path.partition("?")[2])
        if found is None:
            manifest = _PATH.fullmatch(asked.path)
            assert manifest is not None
            self.manifests[f"{manifest[1]}:{manifest[3]}"] = body
            return Answer(201)
        session = found[2]
        if asked.method == "POST":
            session = f"s{len(self.uploads)}"
            self.uploads[session] = bytearray()
        elif session not in self.uploads:
            return _missing()
        content = self.uploads[session]
        if asked.method == "PATCH":
            if asked.headers["content-range"] != f"{len(content)}-{len(content) + len(body) - 1}":
                return Answer(416)
            content += body
        elif asked.method == "PUT":
            digest = query["digest"][0]
            if self.add_blob(bytes(content)) != digest:
                del self.blobs[f"sha256:{hashlib.sha256(content).hexdigest()}"]
                return Answer(400, {}, b"digest mismatch")
            del self.uploads[session]
            return Answer(201)
        headers = {"Location": f"/v2/{found[1]}/blobs/uploads/{session}", "Range": f"0-{max(0, len(content) - 1)}"}
        return Answer(204 if asked.method == "GET" else 202, headers)

    def answer(self, asked: Asked) -> Answer:
        """Give the right answer."""
        if _UPLOAD.fullmatch(asked.path):
            return self.take(asked, b"")
        found = _PATH.fullmatch(asked.path.partition("?")[0])
        if found is None:
            content = self.files.get(asked.path.partition("?")[0])
            return _missing() if content is None else self._file(asked, content)
        repository, kind, reference = found.groups()
        if kind == "manifests":
            manifest = self.manifests.get(f"{repository}:{reference}")
            return _missing() if manifest is None else Answer(200, {"Content-Type": MANIFEST}, manifest)
        if reference not in self.blobs or (kind == "chunksums" and not self.has_sums):
            return _missing()
        if kind == "chunksums":
            return Answer(200, {"Content-Type": "text/plain"}, sums_of(self.blobs[reference]))
        return self._file(asked, self.blobs[reference])

    def _file(self, asked: Asked, content: bytes) -> Answer:
        tag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        headers = {"Content-Type": "application/octet-stream", "ETag": tag}
        span = asked.range if self.has_ranges else None
        if span is None or asked.headers.get("if-range", tag) != tag:
            return Answer(200, headers, content)
        first, last = span
        headers["Content-Range"] = f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"
        return Answer(206, headers, content[first : last + 1])


def sums_of(content: bytes) -> bytes:
    """List the sums of ranges of 1 MiB."""
    lines = []
    for start in range(0, len(content), _SUM_BYTES):
        piece = content[start : start + _SUM_BYTES]
        lines.append(f"sha256:{hashlib.sha256(piece).hexdigest()} {start}-{start + len(piece) - 1}\n")
    return "".join(lines).encode()


@contextlib.contextmanager
def wild_registry(registry: WildRegistry | None = None) -> Iterator[WildRegistry]:
    """Serve a registry, by default an empty one, on a free port of the loopback."""
    registry = registry or WildRegistry()
    server = _Server(("127.0.0.1", 0), lambda *args: _Connection(registry, *args))
    registry.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def slowly(bytes_per_s: int) -> Misbehave:
    """Send blobs at a pace."""

    def misbehave(asked: Asked, answer: Answer) -> Answer:
        if asked.is_for("blobs"):
            answer.pause = lambda: time.sleep(_SEND_BYTES / bytes_per_s)
        return answer

    return misbehave


def _missing() -> Answer:
    return Answer(404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"NOT_FOUND"}]}')


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that goes away is no news here."""
        del request, client_address


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, registry: WildRegistry, *args: Any) -> None:
        self._registry = registry
        super().__init__(*args)

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        registry = self._registry
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, len(registry.requests))
        registry.requests.append(asked)
        answer: Answer | None
        if self.command in {"GET", "HEAD"}:
            answer = registry.answer(asked)
        else:
            if registry.refuse is not None and (answer := registry.refuse(asked)) is not None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self._send(asked, answer)
                return
            answer = registry.take(asked, self.rfile.read(int(headers.get("content-length", 0))))
        if registry.misbehave is not None:
            answer = registry.misbehave(asked, answer)
        if answer is None:
            self.close_connection = True
            return
        with contextlib.suppress(OSError):
            self._send(asked, answer)

    def _send(self, asked: Asked, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.is_endless:
            self.close_connection = True
        elif "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if asked.method == "HEAD":
            return
        body = memoryview(answer.body)[: answer.cut_after]
        first = asked.range[0] if asked.range and answer.status == 206 else 0
        n_sent = 0
        with self._registry.counting:
            number = len(self._registry.sent)
            self._registry.sent.append((asked.path, first, 0))
        while n_sent < len(body) or answer.is_endless:
            answer.pause()
            piece = body if answer.is_endless else body[n_sent : n_sent + _SEND_BYTES]
            n_sent += len(piece)
            # Counted before it is sent: whoever has received it may look at once.
            if number < len(self._registry.sent):
                self._registry.sent[number] = (asked.path, first, n_sent)
            self.wfile.write(piece)
        if answer.cut_after is not None:
            self.close_connection = True
