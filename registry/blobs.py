"""Blobs: content-addressed files `blobs/sha256-<64 hex>`, written whole or not at all.

Bytes go to a temporary file beside the blobs, are hashed on the way, synced and renamed into place. A process that
is killed leaves at most a temporary file (`sha256-` and some letters, as Ollama names them), which pruning removes
after an hour. Two processes may store the same blob at once: both rename equal bytes over it.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from actors.errors import Bug, DigestMismatch, StoreUnwritable
from registry.digests import digest_of, parse_digest

_COPY_CHUNK_BYTES = 1 << 20
_READABLE = 0o444
_FICLONE = 0x40049409  # of linux/fs.h
_PUBLIC = 0o644  # Ollama's mode; another user's server may share the store


class Blobs:
    """The blobs of one store. Stateless, hence thread-safe."""

    def __init__(self, root: Path) -> None:
        """Take the store's root; the folder below it is made at the first write."""
        self.folder = root / "blobs"

    def made_folder(self) -> Path:
        """Give the folder, which is made if need be.

        Raises:
            StoreUnwritable: the operating system refused.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnwritable(str(self.folder), error.strerror or str(error)) from error
        return self.folder

    def path(self, digest: str) -> Path:
        """Give the path of a blob, stored or not.

        Raises:
            InvalidDigest: not a digest.
        """
        return self.folder / parse_digest(digest).replace(":", "-")

    def exists(self, digest: str) -> bool:
        """Tell whether the blob is stored."""
        return self.path(digest).is_file()

    def size(self, digest: str) -> int | None:
        """Give the blob's size in bytes, or None when it is not stored."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def writer(self) -> "BlobWriter":
        """Begin a new blob."""
        return BlobWriter(self.folder)

    def add(self, content: bytes) -> tuple[str, bool]:
        """Store bytes and tell whether they are new; a stored blob only gets a fresh mtime, so that pruning spares it.

        Raises:
            StoreUnwritable: the operating system refused.
        """
        digest = digest_of(content)
        if self.touch(digest):
            return digest, False
        with self.writer() as writer:
            writer.write(content)
            return writer.commit(digest), True

    def add_file(self, source: Path) -> str:
        """Copy a file into the store and give its digest.

        Raises:
            StoreUnwritable: the operating system refused a write.
            OSError: the source cannot be read.
        """
        with source.open("rb") as file, self.writer() as writer:
            while chunk := file.read(_COPY_CHUNK_BYTES):
                writer.write(chunk)
            return writer.commit()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give the path of an empty file beside the blobs, for another process to write; it is removed in the end.

        Raises:
            StoreUnwritable: the operating system refused.
        """
        try:
            fd, name = tempfile.mkstemp(prefix="sha256-", dir=self.made_folder())
        except OSError as error:
            raise StoreUnwritable(str(self.folder), error.strerror or str(error)) from error
        os.close(fd)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def adopt(self, scratch: Path) -> str:
        """Make a blob of a file beside the blobs, without copying it, and give its digest.

        Raises:
            StoreUnwritable: the operating system refused.
        """
        try:
            with scratch.open("rb") as file:
                digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
                os.fchmod(file.fileno(), _PUBLIC)
                os.fsync(file.fileno())
            scratch.rename(self.path(digest))
            sync_folder(self.folder)
        except OSError as error:
            raise StoreUnwritable(str(self.folder), error.strerror or str(error)) from error
        return digest

    def link(self, source: Path, digest: str, *, modified_ns: int) -> bool:
        """Put a file that had this digest when it was last modified into the store without copying it.

        False where that cannot be, or the file has been modified since. Its blocks are shared if the file system can do
        that; else the blob is another name of the file, which must not be changed from then on. A file that others
        cannot read is linked only into a folder of its own owner.
        """
        target = self.path(digest)
        scratch = self.folder / f"sha256-{secrets.token_hex(8)}"
        try:
            with source.open("rb") as file:
                status = os.fstat(file.fileno())
                is_public = status.st_mode & _READABLE == _READABLE or status.st_uid == self.folder.stat().st_uid
                if not stat.S_ISREG(status.st_mode) or not is_public:
                    return False
                if not _cloned(file.fileno(), scratch):
                    os.link(source.resolve(), scratch)
                if os.fstat(file.fileno()).st_mtime_ns != modified_ns:
                    scratch.unlink()
                    return False
            scratch.rename(target)
            sync_folder(self.folder)
        except OSError:
            scratch.unlink(missing_ok=True)
            return False
        return True

    def touch(self, digest: str) -> bool:
        """Refresh the mtime of a blob that is about to be used; false when it is not stored."""
        path = self.path(digest)
        if not path.is_file():
            return False
        # A store of another user may refuse the new time and still be readable.
        with contextlib.suppress(OSError):
            os.utime(path)
        return path.is_file()


class BlobWriter:
    """One blob on its way in; leave the `with` block without `commit` and nothing remains."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fd, name = tempfile.mkstemp(prefix="sha256-", dir=folder)
        except OSError as error:
            raise StoreUnwritable(str(folder), error.strerror or str(error)) from error
        self._path: Path | None = Path(name)
        self._file = os.fdopen(fd, "wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            StoreUnwritable: the operating system refused, for example because the disk is full.
        """
        view = memoryview(chunk)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise StoreUnwritable(str(self._folder), error.strerror or str(error)) from error
        self._hash.update(chunk)
        self.size_bytes += len(chunk)

    def commit(self, expected: str | None = None) -> str:
        """Make the blob durable under its digest.

        Args:
            expected: digest that the bytes must have, if the sender named one.

        Raises:
            DigestMismatch: the bytes have another digest; nothing is stored.
            StoreUnwritable: the operating system refused; nothing is stored.
        """
        if self._path is None:
            raise Bug("a blob was committed twice, or outside its with block")
        digest = f"sha256:{self._hash.hexdigest()}"
        if expected is not None and parse_digest(expected) != digest:
            raise DigestMismatch(expected=parse_digest(expected), actual=digest)
        try:
            os.fchmod(self._file.fileno(), _PUBLIC)
            os.fsync(self._file.fileno())
            self._path.rename(self._folder / digest.replace(":", "-"))
            self._path = None
            sync_folder(self._folder)
        except OSError as error:
            raise StoreUnwritable(str(self._folder), error.strerror or str(error)) from error
        return digest


def _cloned(source_fd: int, target: Path) -> bool:
    """Make a file that shares its blocks with another, on file systems that can."""
    with target.open("xb") as file:
        try:
            fcntl.ioctl(file.fileno(), _FICLONE, source_fd)
        except OSError:
            target.unlink()
            return False
        os.fchmod(file.fileno(), _PUBLIC)
        os.fsync(file.fileno())
    return True


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
