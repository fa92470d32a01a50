"""Local files into the server's store: hashed, then sent unless they are there already."""

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gateway.cli.client import Client

_CHUNK_BYTES = 1 << 20
_SHORT_DIGEST = len("sha256:") + 12

Report = Callable[[str], None]


def digests_of(files: Mapping[str, Path]) -> dict[str, str]:
    """Hash files.

    Raises:
        OSError: one cannot be read.
    """
    return {name: _digest(path) for name, path in files.items()}


def upload(client: Client, path: Path, digest: str, report: Report) -> None:
    """Send a file, unless the store holds a blob of its digest.

    Raises:
        ApiFailure: the store did not take it; a file that changed since it was hashed is refused.
    """
    if client.has_blob(digest):
        return
    size_bytes = path.stat().st_size
    label = f"copying file {digest[:_SHORT_DIGEST]}"  # the whole one would not fit a line that is rewritten
    client.upload_blob(digest, _chunks(path, size_bytes, label), size_bytes=size_bytes)
    report(f"copying file {digest} 100%")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _chunks(path: Path, size_bytes: int, label: str) -> Iterator[bytes]:
    shows_progress = sys.stderr.isatty()
    sent_bytes, shown_percent = 0, -1
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
            sent_bytes += len(chunk)
            percent = 100 * sent_bytes // max(size_bytes, 1)
            if shows_progress and percent != shown_percent:
                shown_percent = percent
                sys.stderr.write(f"\r\x1b[K{label} {percent}%")
                sys.stderr.flush()
    if shows_progress:
        sys.stderr.write("\r\x1b[K")
