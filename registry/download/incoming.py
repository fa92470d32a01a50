"""A file on its way into the store: `blobs/<name>.incoming`, with its record `<name>.incoming.parts`.

Whoever holds the lock on the file (`flock`, which the kernel drops with its process) downloads; everybody else who
wants the same bytes, in this process, another gateway worker or another server, follows the record and takes over when
the lock comes free. So a download is shared without anybody coordinating it, and no single client or process is
needed for it to go on. The lock ends with the rename to the blob's name, which is the moment the blob exists.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

from actors.errors import StoreUnwritable
from registry.blobs import sync_folder
from registry.download.parts import PartTable, read_completed

SUFFIX = ".incoming"
RECORD_SUFFIX = ".incoming.parts"
_PUBLIC = 0o644


class Incoming:
    """The file and its record, held exclusively; closed at the end of its `with` block, kept for a later resume."""

    def __init__(self, path: Path, fd: int, *, is_fresh: bool) -> None:
        self.path = path
        self.fd = fd
        self._is_fresh = is_fresh
        self._table: PartTable | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._table is not None:
            self._table.close()
        os.close(self.fd)

    def table(self, size_bytes: int, *, validator: str = "") -> PartTable:
        """Open the record of a file of this size; bytes of another one are forgotten.

        Raises:
            StoreUnwritable: the operating system refused, or there is too little room on the disk.
        """
        is_fresh = self._is_fresh or os.fstat(self.fd).st_size != size_bytes
        try:
            if is_fresh:  # while it is empty, no record is believed: an old one may count bytes of another file
                os.ftruncate(self.fd, 0)
            self._table = PartTable.open(
                record_of(self.path), size_bytes=size_bytes, validator=validator, is_fresh=is_fresh
            )
            os.ftruncate(self.fd, size_bytes)  # sparse: bytes take room as they come
        except OSError as error:
            raise StoreUnwritable(str(self.path), error.strerror or str(error)) from error
        check_room(self.path.parent, size_bytes - self._table.completed_bytes)
        return self._table

    def become(self, target: Path) -> None:
        """Make the file durable and give it its final name.

        Raises:
            StoreUnwritable: the operating system refused.
        """
        try:
            os.fchmod(self.fd, _PUBLIC)
            os.fsync(self.fd)
            self.path.rename(target)
            record_of(self.path).unlink(missing_ok=True)
            sync_folder(target.parent)
        except OSError as error:
            raise StoreUnwritable(str(target), error.strerror or str(error)) from error

    def discard(self) -> None:
        """Remove file and record: what came is of no use."""
        self.path.unlink(missing_ok=True)
        record_of(self.path).unlink(missing_ok=True)


def claim(path: Path) -> Incoming | None:
    """Take the lock on an incoming file, which is made if need be; None while somebody else has it.

    Raises:
        StoreUnwritable: the operating system refused.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _PUBLIC)
    except OSError as error:
        raise StoreUnwritable(str(path), error.strerror or str(error)) from error
    try:
        if not _lock(fd) or not _is_at(path, fd):
            os.close(fd)
            return None
        return Incoming(path, fd, is_fresh=os.fstat(fd).st_size == 0)
    except BaseException:
        os.close(fd)
        raise


def record_of(path: Path) -> Path:
    """Give the record's path."""
    return path.with_name(path.name + RECORD_SUFFIX.removeprefix(SUFFIX))


def incoming_path(folder: Path, name: str) -> Path:
    """Give where the file of a blob, named as it will be, or of a source comes in."""
    return folder / f"{name}{SUFFIX}"


def progress_of(path: Path, size_bytes: int) -> int:
    """Give how much of an incoming file is there, whoever downloads it."""
    return read_completed(record_of(path), size_bytes)


def check_room(folder: Path, n_bytes: int) -> None:
    """Check that the disk of a folder has room, before rather than after hours of downloading.

    Raises:
        StoreUnwritable: it has not.
    """
    status = os.statvfs(folder)
    free_bytes = status.f_bavail * status.f_frsize
    if n_bytes > free_bytes:
        raise StoreUnwritable(str(folder), f"{n_bytes / 1e9:.2f} GB are needed and {free_bytes / 1e9:.2f} GB are free")


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a network file system without locks: go on as the store's own lock does
    return True


def _is_at(path: Path, fd: int) -> bool:
    """Tell whether the locked file still has its name: it may have become a blob between opening and locking."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
