"""Upload sessions of others that push to us: a file in the store that grows until its sender names its digest.

A session is `blobs/<id>.upload`; how much has come is the file's size, so it outlives the process and any gateway
worker can take the next part. A part is taken under a lock. What is not committed is pruned after a week.
"""

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from actors.errors import DigestMismatch, StoreUnwritable, TooManyTransfers, UploadMisplaced, UploadNotFound
from registry.blobs import Blobs, sync_folder
from registry.digests import digest_of_file, parse_digest

MAX_SESSIONS = 64
_ID = re.compile(r"[0-9a-f]{32}")
_SUFFIX = ".upload"
_PUBLIC = 0o644


class Uploads:
    """The sessions of one store. Blocks on the file system; stateless, hence thread-safe."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def begin(self) -> str:
        """Open a session and give its id.

        Raises:
            TooManyTransfers: `MAX_SESSIONS` are open.
            StoreUnwritable: the operating system refused.
        """
        folder = self._blobs.made_folder()
        n_open = sum(entry.name.endswith(_SUFFIX) for entry in os.scandir(folder))
        if n_open >= MAX_SESSIONS:
            raise TooManyTransfers(n_open)
        name = secrets.token_hex(16)
        try:
            (folder / f"{name}{_SUFFIX}").touch(mode=_PUBLIC, exist_ok=False)
        except OSError as error:
            raise StoreUnwritable(str(folder), error.strerror or str(error)) from error
        return name

    def size(self, session: str) -> int:
        """Tell how many bytes have come.

        Raises:
            UploadNotFound: no such session.
        """
        try:
            return self._path(session).stat().st_size
        except FileNotFoundError:
            raise UploadNotFound(session) from None

    @contextlib.contextmanager
    def part(self, session: str, start: int | None) -> Iterator["UploadPart"]:
        """Take the next part; what has come when the block is left stays.

        Args:
            session: its id.
            start: where the sender means to go on, None for wherever the end is.

        Raises:
            UploadNotFound: no such session.
            UploadMisplaced: the part does not begin at the end, or another one is coming in.
            StoreUnwritable: the operating system refused.
        """
        with self._held(session, start or 0) as fd:
            size = os.fstat(fd).st_size
            if start is not None and start != size:
                raise UploadMisplaced(expected=size, got=start)
            yield UploadPart(fd, self._blobs.folder)

    def commit(self, session: str, digest: str) -> None:
        """Make a blob of what has come.

        Raises:
            InvalidDigest: not a digest.
            UploadNotFound: no such session.
            UploadMisplaced: a part is coming in.
            DigestMismatch: the bytes have another digest; the session ends.
            StoreUnwritable: the operating system refused.
        """
        wanted, path = parse_digest(digest), self._path(session)
        with self._held(session, 0) as fd:  # nothing is appended to what has been hashed
            try:
                actual = digest_of_file(path)
                if actual != wanted:
                    path.unlink()
                    raise DigestMismatch(expected=wanted, actual=actual)
                os.fsync(fd)
                path.rename(self._blobs.path(wanted))
                sync_folder(self._blobs.folder)
            except OSError as error:
                raise StoreUnwritable(str(self._blobs.folder), error.strerror or str(error)) from error

    def cancel(self, session: str) -> None:
        """Forget a session; idempotent."""
        self._path(session).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _held(self, session: str, start: int) -> Iterator[int]:
        """Hold a session's file alone, open for appending."""
        path = self._path(session)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise UploadNotFound(session) from None
        except OSError as error:
            raise StoreUnwritable(str(self._blobs.folder), error.strerror or str(error)) from error
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UploadMisplaced(expected=os.fstat(fd).st_size, got=start) from None
            if not path.exists():  # it became a blob since it was opened
                raise UploadNotFound(session)
            yield fd
        finally:
            os.close(fd)

    def _path(self, session: str) -> Path:
        if not _ID.fullmatch(session):
            raise UploadNotFound(session)
        return self._blobs.folder / f"{session}{_SUFFIX}"


class UploadPart:
    """The open end of a session's file."""

    def __init__(self, fd: int, folder: Path) -> None:
        self._fd = fd
        self._folder = folder

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            StoreUnwritable: the operating system refused, for example because the disk is full.
        """
        view = memoryview(chunk)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise StoreUnwritable(str(self._folder), error.strerror or str(error)) from error

    @property
    def size_bytes(self) -> int:
        """How much has come in all."""
        return os.fstat(self._fd).st_size
