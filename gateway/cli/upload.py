"""Local files into the server's store: hashed, then sent unless they are there already."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.settings import models_folder
from gateway.cli.client import Client, Json
from registry.blobs import Blobs

_CHUNK_BYTES = 1 << 20

Report = Callable[[Json], None]


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file's digest, and the mtime that it had before."""

    digest: str
    modified_ns: int


def hashed(files: Mapping[str, Path]) -> dict[str, Hashed]:
    """Hash files.

    Raises:
        OSError: one cannot be read.
    """
    return {name: _hashed(path) for name, path in files.items()}


def upload(client: Client, path: Path, file: Hashed, report: Report, *, links: bool = True) -> None:
    """Send a file, unless the store holds a blob of its digest, or it can be linked there.

    Raises:
        ApiFailure: the store did not take it; a file that changed since it was hashed is refused.
    """
    if client.has_blob(file.digest) or (links and _linked(client, path, file)):
        return
    size_bytes = path.stat().st_size
    client.upload_blob(file.digest, _chunks(path, size_bytes, file.digest, report), size_bytes=size_bytes)


def _linked(client: Client, path: Path, file: Hashed) -> bool:
    """Link a file into this machine's store, if that is the server's; whether it is, the server itself tells."""
    blobs, digest = Blobs(models_folder(os.environ)), file.digest
    # A blob that is there already, though the server has none, tells that this is not its store.
    if not client.is_local or not blobs.folder.is_dir() or blobs.exists(digest):
        return False
    if not blobs.link(path, digest, modified_ns=file.modified_ns):
        return False
    if client.has_blob(digest):
        return True
    blobs.path(digest).unlink(missing_ok=True)
    return False


def _hashed(path: Path) -> Hashed:
    with path.open("rb") as file:
        modified_ns = os.fstat(file.fileno()).st_mtime_ns
        return Hashed(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}", modified_ns)


def _chunks(path: Path, size_bytes: int, digest: str, report: Report) -> Iterator[bytes]:
    sent_bytes = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
            sent_bytes += len(chunk)
            report({"status": f"copying file {digest}", "total": size_bytes, "completed": sent_bytes})
