"""Sequences on disk: the lower half of the KV tier, which survives the runner.

A file holds one sequence: magic, length of the head, head (msgpack), the cells as llama.cpp serialised them. Its
name begins with the digest of everything that must agree before llama.cpp may see it: model, adapters, slots, layout,
build. Files are written under another name and renamed, so that none is seen half-written; a checksum finds what the
disk lost. Whatever does not fit is ignored and removed.

All runners of a user share the folder and its limit: the files longest unused go first. A file may vanish at any time.
"""

import functools
import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from actors.errors import MalformedMessage
from actors.log import get_logger
from runners.llama.layout import Layout

log = get_logger(__name__)

_MAGIC = b"LLKV\x01"
_SUFFIX = ".kv"
_MOST_HEAD_BYTES = 16 << 20
_MOST_LISTED = 1024
"""Files of one model that are looked at, the latest first."""
_DIGITS = 24


class SavedHead(msgspec.Struct, frozen=True):
    """What is known of a saved sequence without its cells."""

    identity: str
    tokens: tuple[int, ...]
    adapters: tuple[tuple[str, float], ...]
    layout: tuple[int, int, int]
    n_bytes: int
    crc: int


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(SavedHead)


class SavedSequences:
    """The sequences in a folder that belong to one model as loaded."""

    def __init__(self, folder: Path, identity: str, *, limit_bytes: int) -> None:
        self._folder = folder
        self._identity = identity
        self._limit_bytes = limit_bytes
        self._prefix = hashlib.sha256(identity.encode()).hexdigest()[:_DIGITS]

    def heads(self) -> list[tuple[Path, SavedHead]]:
        """List what is there, the longest unused first; files that are none of ours by content are removed."""
        found = []
        for path in self._by_age(f"{self._prefix}-*{_SUFFIX}")[-_MOST_LISTED:]:
            try:
                found.append((path, self._read(path, whole=False)[0]))
            except (OSError, MalformedMessage) as error:
                self._discard(path, error)
        return found

    def save(
        self,
        tokens: Sequence[int],
        adapters: tuple[tuple[str, float], ...],
        layout: Layout,
        *cells: bytes | memoryview,
        used_ns: int | None = None,
    ) -> Path:
        """Write a sequence, whose cells may come in parts, and make room for it; `used_ns` is its last use, if not now.

        Raises:
            OSError: it cannot be written.
        """
        n_bytes = sum(len(part) for part in cells)
        head = SavedHead(
            self._identity,
            tuple(tokens),
            adapters,
            (layout.flash_attention, layout.key_type, layout.value_type),
            n_bytes,
            functools.reduce(lambda crc, part: zlib.crc32(part, crc), cells, 0),
        )
        encoded = _encoder.encode(head)
        path = self.path_of(head.tokens, adapters)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room(n_bytes)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123  # opened for the owner alone
                file.writelines((_MAGIC, len(encoded).to_bytes(4, "little"), encoded, *cells))
            if used_ns is not None:
                os.utime(unfinished, ns=(used_ns, used_ns))
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path

    def path_of(self, tokens: tuple[int, ...], adapters: tuple[tuple[str, float], ...]) -> Path:
        """Give the file of a sequence, whether it is there or not."""
        name = hashlib.sha256(_encoder.encode((tokens, adapters))).hexdigest()[:_DIGITS]
        return self._folder / f"{self._prefix}-{name}{_SUFFIX}"

    def load(self, path: Path) -> bytes | None:
        """Read a sequence's cells; None when they are gone or spoilt, and then the file is gone as well."""
        try:
            _, cells = self._read(path, whole=True)
            os.utime(path)
        except (OSError, MalformedMessage) as error:
            self._discard(path, error)
            return None
        return cells

    def remove(self, path: Path) -> None:
        """Remove a file; one that is gone needs no removing."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("could not remove %s: %s", path, error)

    def _read(self, path: Path, *, whole: bool) -> tuple[SavedHead, bytes]:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC) + 4)
            size = int.from_bytes(start[len(_MAGIC) :], "little")
            if start[: len(_MAGIC)] != _MAGIC or not 0 < size <= _MOST_HEAD_BYTES:
                raise MalformedMessage("it does not begin as a saved sequence")
            try:
                head = _decoder.decode(file.read(size))
            except msgspec.DecodeError as error:
                raise MalformedMessage(f"its head cannot be read: {error}") from error
            if head.identity != self._identity:
                raise MalformedMessage("it belongs to another model")
            cells = file.read(head.n_bytes) if whole else b""
            if whole and (len(cells) != head.n_bytes or zlib.crc32(cells) != head.crc):
                raise MalformedMessage("its checksum is wrong")
            return head, cells

    def _make_room(self, n_bytes: int) -> None:
        files = [(path, path.stat().st_size) for path in self._by_age(f"*{_SUFFIX}")]
        total = sum(size for _, size in files) + n_bytes
        for path, size in files:
            if total <= self._limit_bytes:
                break
            self.remove(path)
            total -= size

    def _by_age(self, pattern: str) -> list[Path]:
        aged = []
        for path in self._folder.glob(pattern):
            try:
                aged.append((path.stat().st_mtime_ns, path))
            except OSError:
                continue  # another runner removed it
        return [path for _, path in sorted(aged)]

    def _discard(self, path: Path, error: Exception) -> None:
        if not isinstance(error, FileNotFoundError):
            log.warning("removed the saved sequence %s: %s", path.name, error)
        self.remove(path)
