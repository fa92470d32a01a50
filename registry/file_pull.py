"""Pulling GGUF files from URLs or from this machine: into the store, then made a model as `create` makes one."""

import hashlib
import os
import stat
from collections.abc import Generator
from pathlib import Path

from actors.errors import InvalidGguf, InvalidRequest
from registry.blobs import BlobWriter
from registry.create import CreateRequest, create
from registry.download.download import Download
from registry.download.incoming import check_room
from registry.download.source import Source
from registry.gguf import MAGIC
from registry.names import ModelName
from registry.progress import Progress
from registry.reference import FileUrl, LocalFile
from registry.remote.client import RegistryClient
from registry.remote.retry import retried
from registry.store import Store
from registry.transfer import Transfer

Lines = Generator[Progress, None, None]

_COPY_BYTES = 1 << 20
_REPORT_EVERY_BYTES = 64 << 20


def of_urls(store: Store, reference: FileUrl, name: ModelName, transfer: Transfer) -> Lines:
    """Pull files from URLs."""
    digests: dict[str, str] = {}
    for url, file_name in zip(reference.urls, reference.names, strict=True):
        status = f"pulling {file_name}"
        yield Progress(status=status)
        source = Source(RegistryClient(url._replace(path="", query=""), transfer.caller, transfer.abort), url)
        size_bytes, download = _download(store, source, file_name, transfer)
        steps = download.run()
        while True:
            try:
                completed = next(steps)
            except StopIteration as end:
                digests[file_name] = end.value
                break
            yield Progress(status=status, digest=file_name, total=size_bytes, completed=completed)
        yield Progress(status=status, digest=file_name, total=size_bytes, completed=size_bytes)
    yield from _make(store, name, digests)


def of_paths(store: Store, reference: LocalFile, name: ModelName, transfer: Transfer) -> Lines:
    """Pull files of this machine."""
    digests: dict[str, str] = {}
    for path in reference.paths:
        with store.blobs.writer() as writer:
            digests[path.name] = yield from _copy(path, writer, store.blobs.folder, transfer)
    yield from _make(store, name, digests)


def _download(store: Store, source: Source, file_name: str, transfer: Transfer) -> tuple[int, Download]:
    client = source.client
    with client.channel() as channel:
        probe = retried(lambda: source.probe(channel), patience=client.caller.patience, abort=client.abort)
    if probe.beginning not in {b"", MAGIC}:
        raise InvalidGguf(f"{file_name} is no GGUF file")
    identity = f"{source.url.geturl()} {probe.size_bytes} {probe.validator}"
    download = Download(
        store.blobs,
        source,
        size_bytes=probe.size_bytes,
        validator=probe.validator,
        key=f"url-{hashlib.sha256(identity.encode()).hexdigest()}",
        pace=transfer.pace,
    )
    return probe.size_bytes, download


def _copy(path: Path, writer: BlobWriter, folder: Path, transfer: Transfer) -> Generator[Progress, None, str]:
    try:
        # Not to wait for the other end of a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise InvalidRequest(f"{path} is no regular file")
    with os.fdopen(fd, "rb", buffering=0) as file:
        check_room(folder, status.st_size)
        while chunk := file.read(_COPY_BYTES):
            if writer.size_bytes == 0 and chunk[:4] != MAGIC:
                raise InvalidGguf(f"{path.name} is no GGUF file")
            transfer.abort.check()
            if writer.size_bytes % _REPORT_EVERY_BYTES == 0:
                yield Progress(
                    status=f"copying {path.name}",
                    digest=path.name,
                    total=status.st_size,
                    completed=writer.size_bytes,
                )
            writer.write(chunk)
    digest = writer.commit()
    yield Progress(
        status=f"copying {path.name}", digest=path.name, total=writer.size_bytes, completed=writer.size_bytes
    )
    return digest


def _make(store: Store, name: ModelName, digests: dict[str, str]) -> Lines:
    yield Progress(status="verifying sha256 digest")
    try:
        yield from create(store, CreateRequest(model=name.canonical, files=digests))
    finally:  # whatever went wrong, and shards that were merged, are of no use by themselves
        store.discard(digests.values())
