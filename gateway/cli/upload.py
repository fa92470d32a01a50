"""Local files into the server's store: hashed, then sent unless they are there already."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gateway.cli.client import Client, Json

_CHUNK_BYTES = 1 << 20

Report = Callable[[Json], None]


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
    client.upload_blob(digest, _chunks(path, size_bytes, digest, report), size_bytes=size_bytes)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _chunks(path: Path, size_bytes: int, digest: str, report: Report) -> Iterator[bytes]:
    sent_bytes = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
            sent_bytes += len(chunk)
            report({"status": f"copying file {digest}", "total": size_bytes, "completed": sent_bytes})
