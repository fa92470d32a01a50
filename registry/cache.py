"""Remembering what was read from files, for as long as the files stay the same."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Read = TypeVar("Read")
Stamp = tuple[int, int, int]


def stamp_of(path: str) -> Stamp:
    """Give what changes with a file.

    Raises:
        OSError: it cannot be looked at.
    """
    status = os.stat(path)  # noqa: PTH116 - listing thousands of models makes no Path of each
    return status.st_ino, status.st_size, status.st_mtime_ns


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
        self._entries: OrderedDict[str, tuple[Stamp, Read]] = OrderedDict()

    def get(self, path: Path | str) -> Read:
        """Give the file's value, reading it if it is new or has changed.

        Raises:
            FileNotFoundError: there is no such file.
        """
        key = str(path)
        stamp = stamp_of(key)  # taken before the read: a file that changes meanwhile is read again next time
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry[0] == stamp:
                self._entries.move_to_end(key)
                return entry[1]
        value = self._read(Path(key))
        with self._lock:
            self._entries[key] = (stamp, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._n_entries:
                self._entries.popitem(last=False)
        return value
