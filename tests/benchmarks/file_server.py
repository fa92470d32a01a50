"""A registry of one model that sends its weights as fast as the kernel can, as a process of its own.

`python -m tests.benchmarks.file_server FILE DIGEST` prints its port and serves until it is killed.
"""

import json
import os
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from registry.digests import digest_of
from registry.manifests import CONFIG, MANIFEST, WEIGHTS

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_CONFIG = b'{"model_format":"gguf"}'


def main() -> None:
    """Serve."""
    _, path, digest = sys.argv
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: _Connection(Path(path), digest, *args))
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, path: Path, digest: str, *args: object) -> None:
        self._file = path
        self._digest = digest
        super().__init__(*args)  # type: ignore[arg-type]  # what the server passes on

    def do_GET(self) -> None:
        if "/manifests/" in self.path:
            self._send(self._manifest())
        elif self._digest in self.path:
            self._send_file()
        else:
            self._send(_CONFIG)

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _manifest(self) -> bytes:
        config = {"mediaType": CONFIG, "digest": digest_of(_CONFIG), "size": len(_CONFIG)}
        layer = {"mediaType": WEIGHTS, "digest": self._digest, "size": self._file.stat().st_size}
        return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}).encode()

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self) -> None:
        size = self._file.stat().st_size
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        start, end = (int(found[1]), int(found[2]) + 1) if found else (0, size)
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(end - start))
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        self.wfile.flush()
        with self._file.open("rb") as file:
            while start < end:
                start += os.sendfile(self.connection.fileno(), file.fileno(), start, end - start)


if __name__ == "__main__":
    main()
