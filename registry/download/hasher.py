"""The hash of a file while it arrives: follows the end of what is there without a gap, reading from the page cache."""

import hashlib
import os
import threading

from registry.download.parts import PartTable
from registry.download.writeback import start_writing
from registry.remote.abort import Abort

_READ_BYTES = 1 << 20
_WRITE_BYTES = 16 << 20
_LOOK_AGAIN_S = 0.005


class Hasher(threading.Thread):
    """SHA-256 of a file that others write; `digest` is there once the thread has ended without an error."""

    def __init__(self, fd: int, table: PartTable, abort: Abort) -> None:
        super().__init__(name="pull hash", daemon=True)
        self._fd = fd
        self._table = table
        self._abort = abort
        self._hash = hashlib.sha256()
        self._is_over = threading.Event()
        self.hashed_bytes = 0
        self.error: OSError | None = None

    @property
    def digest(self) -> str:
        """The digest of what was hashed."""
        return f"sha256:{self._hash.hexdigest()}"

    def stop(self) -> None:
        """End without a result; idempotent."""
        self._is_over.set()

    def run(self) -> None:
        """Hash to the end of the file, or until told to stop."""
        buffer, written = memoryview(bytearray(_READ_BYTES)), 0
        try:
            while self.hashed_bytes < self._table.size_bytes:
                end = self._table.contiguous_bytes(self.hashed_bytes)
                if end == self.hashed_bytes and self._is_over.wait(_LOOK_AGAIN_S):
                    return
                while self.hashed_bytes < end:
                    if self._is_over.is_set() or self._abort.is_set:
                        return
                    n_read = os.preadv(self._fd, [buffer[: end - self.hashed_bytes]], self.hashed_bytes)
                    self._hash.update(buffer[:n_read])
                    self.hashed_bytes += n_read
                    if self.hashed_bytes - written >= _WRITE_BYTES:
                        start_writing(self._fd, written, self.hashed_bytes - written)
                        written = self.hashed_bytes
        except OSError as error:
            self.error = error
