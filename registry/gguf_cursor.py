"""Reading little-endian values from a file in order, through a window of bounded size.

The file is read, never mapped: a file that shrinks under a mapping would kill the process with SIGBUS, here it is
an error. Every length is compared with what is left of the file before anything is allocated for it.
"""

import struct
from typing import BinaryIO

from actors.errors import InvalidGguf

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Cursor:
    """A position in a file of known size. Owned by one reader; not thread-safe."""

    def __init__(self, file: BinaryIO, file_bytes: int, window_bytes: int) -> None:
        """Take a file opened unbuffered at its start, its size, and how much to read at once."""
        self._file = file
        self._file_bytes = file_bytes
        self._window_bytes = window_bytes
        self._buffer = b""
        self._base = 0
        self._at = 0

    @property
    def position(self) -> int:
        """Offset of the next byte from the file's start."""
        return self._base + self._at

    @property
    def remaining(self) -> int:
        """Bytes from here to the end of the file."""
        return self._file_bytes - self.position

    def u32(self) -> int:
        """Read an unsigned integer of 32 bits."""
        return int(self.scalar(_U32))

    def u64(self) -> int:
        """Read an unsigned integer of 64 bits."""
        return int(self.scalar(_U64))

    def scalar(self, layout: struct.Struct) -> int | float:
        """Read one number."""
        at = self._reach(layout.size)
        self._at = at + layout.size
        value: int | float = layout.unpack_from(self._buffer, at)[0]
        return value

    def take(self, n_bytes: int) -> bytes:
        """Read bytes; the caller has bounded their number."""
        at = self._reach(n_bytes)
        self._at = at + n_bytes
        return self._buffer[at : self._at]

    def skip(self, n_bytes: int) -> None:
        """Pass over bytes without reading them."""
        self._require(n_bytes)
        self._at += n_bytes

    def skip_strings(self, count: int) -> None:
        """Pass over strings, each a 64-bit length and its bytes.

        This loop is most of the time that reading a file takes (about 80 ns per string), hence its plain form: it
        runs until a length lies outside the window, then moves the window.
        """
        self._require(count * _U64.size)
        length_at = _U64.unpack_from
        while count:
            at = self._reach(_U64.size)
            buffer, done = self._buffer, 0
            try:
                for done in range(count):  # noqa: B007 - counts what was done when the window ends
                    at += 8 + length_at(buffer, at)[0]
                done = count
            except (struct.error, OverflowError):
                pass
            count -= done
            self._at = at
            self._require(0)

    def _require(self, n_bytes: int) -> None:
        if n_bytes > self.remaining:
            raise InvalidGguf(
                f"the GGUF file is cut short or corrupt: at byte {min(self.position, self._file_bytes)} it announces "
                f"more than the {max(self.remaining, 0)} bytes that are left"
            )

    def _reach(self, n_bytes: int) -> int:
        """Make bytes available in the window and give their index in it."""
        if self._at + n_bytes > len(self._buffer):
            self._require(n_bytes)
            self._base, self._at = self.position, 0
            self._file.seek(self._base)
            self._buffer = _read(self._file, max(n_bytes, min(self._window_bytes, self.remaining)))
            if len(self._buffer) < n_bytes:
                raise InvalidGguf("the GGUF file became shorter while it was read")
        return self._at


def _read(file: BinaryIO, n_bytes: int) -> bytes:
    parts = []
    while n_bytes and (part := file.read(n_bytes)):
        parts.append(part)
        n_bytes -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
