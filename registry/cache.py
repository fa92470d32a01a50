"""Remembering what was read from files, for as long as the files stay the same."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Read = TypeVar("Read")
Stamp = tuple[int, int, int]


class FileCache(Generic[Read]):
    """Values read from files, keyed by path and valid while inode, size and mtime stay the same.

    At most `n_entries` are kept, the least recently used goes first. Thread-safe; two threads that miss together both
    read. A failed read is not remembered.
    """

    def __init__(self, n_entries: int, read: Callable[[Path], Read]) -> None:
        """Take the bound, and the function that reads a file."""
        self._n_entries = n_entries
        self._read = read
        self._lock = threading.Lock()
        self._entries: OrderedDict[Path, tuple[Stamp, Read]] = OrderedDict()

    def get(self, path: Path) -> Read:
        """Give the file's value, reading it if it is new or has changed.

        Raises:
            FileNotFoundError: there is no such file.
        """
        status = path.stat()
        # Taken before the read: a file that changes meanwhile is read again next time.
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            entry = self._entries.get(path)
            if entry is not None and entry[0] == stamp:
                self._entries.move_to_end(path)
                return entry[1]
        value = self._read(path)
        with self._lock:
            self._entries[path] = (stamp, value)
            self._entries.move_to_end(path)
            while len(self._entries) > self._n_entries:
                self._entries.popitem(last=False)
        return value
