"""Local files into the server's store: hashed, then sent unless they are there already."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from actors.settings import models_folder
from gateway.cli.client import Client, Json
from registry.blobs import Blobs

_CHUNK_BYTES = 1 << 20

Report = Callable[[Json], None]


def digests_of(files: Mapping[str, Path]) -> dict[str, str]:
    """Hash files.

    Raises:
        OSError: one cannot be read.
    """
    return {name: _digest(path) for name, path in files.items()}


def upload(client: Client, path: Path, digest: str, report: Report, *, links: bool = True) -> None:
    """Send a file, unless the store holds a blob of its digest, or it can be linked there.

    Raises:
        ApiFailure: the store did not take it; a file that changed since it was hashed is refused.
    """
    if client.has_blob(digest) or (links and _linked(client, path, digest)):
        return
    size_bytes = path.stat().st_size
    client.upload_blob(digest, _chunks(path, size_bytes, digest, report), size_bytes=size_bytes)


def _linked(client: Client, path: Path, digest: str) -> bool:
    """Link a file into this machine's store, if that is the server's; whether it is, the server itself tells."""
    blobs = Blobs(models_folder(os.environ))
    # A blob that is there already, though the server has none, tells that this is not its store.
    if not client.is_local or not blobs.folder.is_dir() or blobs.exists(digest) or not blobs.link(path, digest):
        return False
    if client.has_blob(digest):
        return True
    blobs.path(digest).unlink(missing_ok=True)
    return False


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
