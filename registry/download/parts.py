"""The record of a download: which bytes of the file are there, kept to the byte beside the file.

Format: a head of 64 bytes (magic, file size, part size, validator), then 8 bytes per part: how many of its bytes have
come, from its start. A counter is written after its bytes and without buffering, so whatever kills the process, the
record never claims bytes that were not written; at worst it misses the last piece of each connection. Other processes
read the same record to show progress.
"""

import hashlib
import os
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from actors.errors import StoreUnwritable

_HEAD = struct.Struct("<8sQQ32s8x")
_MAGIC = b"llaparts"
_COUNTER = struct.Struct("<Q")
_MEBI = 1 << 20
_MAX_PARTS = 1 << 14
_SMALLEST_PART_BYTES = 8 << 20
_LARGEST_PART_BYTES = 64 << 20
_WANTED_PARTS = 64


@dataclass(frozen=True, slots=True)
class Part:
    """A range of the file."""

    number: int
    start: int
    size_bytes: int


def part_size_for(size_bytes: int) -> int:
    """Give the size of the parts: small ones keep the hash close behind, large ones save requests."""
    least = -(-size_bytes // _MAX_PARTS)
    wanted = max(_SMALLEST_PART_BYTES, min(size_bytes // _WANTED_PARTS, _LARGEST_PART_BYTES), least)
    return -(-wanted // _MEBI) * _MEBI


class PartTable:
    """The parts of one file and how far each has come; owned by whoever holds the file's lock. Thread-safe."""

    def __init__(self, fd: int, size_bytes: int, part_bytes: int, completed: list[int]) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._completed = completed
        self.size_bytes = size_bytes
        self.parts = tuple(
            Part(number, start, min(part_bytes, size_bytes - start))
            for number, start in enumerate(range(0, size_bytes, part_bytes))
        )

    @classmethod
    def open(cls, path: Path, *, size_bytes: int, validator: str, is_fresh: bool) -> Self:
        """Open the record, or begin a new one.

        Args:
            path: where it lies.
            size_bytes: of the file; a record of another size is begun anew.
            validator: what must be unchanged for old bytes to be of use, such as an entity tag.
            is_fresh: the file was just made, so an old record is of another one.

        Raises:
            StoreUnwritable: the operating system refused.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreUnwritable(str(path), error.strerror or str(error)) from error
        try:
            hashed = hashlib.sha256(validator.encode()).digest()
            found = None if is_fresh else _read(fd, size_bytes, hashed)
            if found is None:
                part_bytes = part_size_for(size_bytes)
                found = part_bytes, [0] * -(-size_bytes // part_bytes)
                os.ftruncate(fd, 0)
                os.pwrite(fd, _HEAD.pack(_MAGIC, size_bytes, part_bytes, hashed) + bytes(8 * len(found[1])), 0)
        except OSError as error:
            os.close(fd)
            raise StoreUnwritable(str(path), error.strerror or str(error)) from error
        return cls(fd, size_bytes, *found)

    def close(self) -> None:
        """Close the record."""
        os.close(self._fd)

    @property
    def completed_bytes(self) -> int:
        """How much of the file is there."""
        with self._lock:
            return sum(self._completed)

    def completed_of(self, part: Part) -> int:
        """Give how many bytes of a part are there, from its start."""
        with self._lock:
            return self._completed[part.number]

    def incomplete(self) -> list[Part]:
        """Give the parts that lack bytes, in order."""
        with self._lock:
            return [part for part in self.parts if self._completed[part.number] < part.size_bytes]

    def contiguous_bytes(self, start: int) -> int:
        """Give the end of what is there without a gap from an offset on."""
        part_bytes = self.parts[0].size_bytes if self.parts else 1
        end = start
        with self._lock:
            for part in self.parts[start // part_bytes :]:
                completed = self._completed[part.number]
                end = max(end, part.start + completed)
                if completed < part.size_bytes:
                    break
        return end

    def advance(self, part: Part, n_bytes: int) -> None:
        """Record that so many more bytes of a part were written.

        Raises:
            OSError: the operating system refused.
        """
        with self._lock:
            completed = self._completed[part.number] + n_bytes
            os.pwrite(self._fd, _COUNTER.pack(completed), _HEAD.size + _COUNTER.size * part.number)
            self._completed[part.number] = completed

    def restart(self, part: Part) -> None:
        """Record that a part must be fetched anew."""
        self.advance(part, -self.completed_of(part))


def read_completed(path: Path, size_bytes: int) -> int:
    """Give how much of another's download has come; 0 when that cannot be told now."""
    try:
        content = path.read_bytes()
    except OSError:
        return 0
    counters = content[_HEAD.size :]
    counters = counters[: len(counters) // _COUNTER.size * _COUNTER.size]
    n_bytes: int = sum(count for (count,) in _COUNTER.iter_unpack(counters))
    return min(size_bytes, n_bytes)


def _read(fd: int, size_bytes: int, validator: bytes) -> tuple[int, list[int]] | None:
    """Give part size and counters of a record; None when it is not this file's, or makes no sense."""
    head = os.pread(fd, _HEAD.size, 0)
    if len(head) < _HEAD.size:
        return None
    magic, size, part_bytes, recorded = _HEAD.unpack(head)
    if (magic, size, recorded) != (_MAGIC, size_bytes, validator) or not part_bytes:
        return None
    n_parts = -(-size_bytes // part_bytes)
    if n_parts > _MAX_PARTS + 1:
        return None
    counters = os.pread(fd, _COUNTER.size * n_parts, _HEAD.size)
    if len(counters) < _COUNTER.size * n_parts:
        return None
    completed = [count for (count,) in _COUNTER.iter_unpack(counters)]
    sizes = [min(part_bytes, size_bytes - start) for start in range(0, size_bytes, part_bytes)]
    return (part_bytes, completed) if all(map(int.__le__, completed, sizes)) else None
