"""The KV tier: sequences that left their slots, in host memory and below that on disk, both bounded.

A sequence is kept when its slot is given to another conversation, and when the runner ends. What is least recently used
goes first: from memory to disk, from disk for good. A sequence that continues a kept one takes its place.

The disk has threads of its own. To the writer the decode thread hands bytes, and drops them when it is behind; a file
is removed for its successor when that is written. The reader fetches and checks what a slot waits for: at most one
sequence a slot, and one for all slots that wait for the same. While a model loads it fetches the sequence used last,
which is most likely what the first prompt continues; that is held until the first prompt is looked up.
"""

import collections
import contextlib
import dataclasses
import queue
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from actors.errors import DecodeFailed
from actors.log import get_logger
from runners.llama.adapters import AdapterSet
from runners.llama.cells import parts_with_streams
from runners.llama.layout import Layout
from runners.radix import RadixTree
from runners.saved import SavedSequences

log = get_logger(__name__)

LEAST_TOKENS = 64
"""A shorter sequence is evaluated again sooner than it is looked for."""
_MOST_WAITING = 4
_WRITE_DEADLINE_S = 3.0
_STREAMS_ON_DISK = 1
"""As a new runner's cache has, which then takes the cells as they are."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """One sequence of the tier."""

    tokens: tuple[int, ...]
    adapters: AdapterSet
    layout: Layout
    cells: bytes | None
    """As llama.cpp serialises them; None for one that is only on disk."""
    path: Path | None = None
    replaces: tuple[Path, ...] = ()
    """Files of sequences that this one continues, to be removed when this one has a file."""
    has_plain_cells: bool = False
    """True iff they can be rewritten for another number of streams."""
    used_ns: int = dataclasses.field(default_factory=time.time_ns)
    """When its slot was done with it, by the clock of files."""


@dataclasses.dataclass(slots=True, eq=False, weakref_slot=True)
class Reading:
    """A sequence on its way from the disk, held by the slots that wait for it; the reader writes it, `is_done` last."""

    kept: Kept
    cells: bytes | None = None
    """None when the disk has lost them."""
    is_done: bool = False


class Tier:
    """Kept sequences and which of them a prompt continues; owned by the decode thread."""

    def __init__(
        self, *, memory_bytes: int, disk: SavedSequences | None = None, on_read: Callable[[], None] = lambda: None
    ) -> None:
        """Take in what lies on disk already; `on_read` is called on the reader when a sequence has come from there."""
        self._memory_bytes = memory_bytes
        self._used_bytes = 0
        self._disk = disk
        self._kept: collections.OrderedDict[Kept, None] = collections.OrderedDict()  # least recently used first
        self._trees: dict[AdapterSet, RadixTree[Kept]] = {}
        self._to_write: queue.Queue[Kept | None] = queue.Queue(_MOST_WAITING)
        self._writer: threading.Thread | None = None
        self._writing: dict[Path, Kept] = {}  # the writer takes out what it has written
        self._on_read = on_read
        self._readings: weakref.WeakValueDictionary[Kept, Reading] = weakref.WeakValueDictionary()
        self._to_read: queue.SimpleQueue[Reading | None] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None
        self._ahead: Reading | None = None
        for path, head in disk.heads() if disk else ():
            self._add(Kept(head.tokens, head.adapters, Layout(*head.layout), None, path))

    @property
    def is_on(self) -> bool:
        """True iff anything can be kept."""
        return self._memory_bytes > 0 or self._disk is not None

    @property
    def used_bytes(self) -> int:
        """Host memory that kept cells take."""
        return self._used_bytes

    @property
    def n_tokens_ahead(self) -> int:
        """Tokens of the sequence that is fetched before a prompt asks for it; 0 when none is."""
        return 0 if self._ahead is None else len(self._ahead.kept.tokens)

    def find(self, prompt: Sequence[int], adapters: AdapterSet) -> tuple[Kept, int] | None:
        """Find the sequence that shares the longest prefix with a prompt, and say how many tokens that is."""
        tree = self._trees.get(adapters)
        found = tree.longest(prompt) if tree is not None else None
        if self._ahead is not None and (found is None or found[0] is not self._ahead.kept):
            self._ahead = None
        return found

    def wants(self, tokens: Sequence[int], adapters: AdapterSet) -> bool:
        """Tell whether keeping a sequence would spare anything later."""
        if not self.is_on or len(tokens) < LEAST_TOKENS:
            return False
        found = self.find(tokens, adapters)
        return found is None or found[1] < len(tokens)

    def keep(self, kept: Kept) -> None:
        """Keep a sequence with its cells, in place of those that it continues."""
        if not self.is_on:
            return
        while (found := self.find(kept.tokens, kept.adapters)) and len(found[0].tokens) == found[1]:
            before = found[0]
            self._forget(before, with_file=False)
            if files := (*before.replaces, *([before.path] if before.path else [])):
                kept = dataclasses.replace(kept, replaces=(*kept.replaces, *files))
        self._add(kept)
        while self._used_bytes > self._memory_bytes:
            oldest = next(one for one in self._kept if one.cells is not None)
            self._to_disk(oldest)

    def read_latest(self) -> None:
        """Have the sequence that was used last fetched before a prompt asks for it, if memory may take it."""
        latest = next(reversed(self._kept), None)
        if latest is None or latest.path is None:
            return
        with contextlib.suppress(OSError):  # it is gone, as whoever needs it will find
            if latest.path.stat().st_size <= self._memory_bytes:
                self._ahead = self._ask_reader(latest)

    def cells(self, kept: Kept, reading: Reading | None = None) -> bytes | Reading | None:
        """Give a sequence's cells and count that as a use.

        Args:
            kept: which one.
            reading: what an earlier call gave to wait for, if it is done.

        Returns:
            What to wait for where they come from the disk; None when that has lost them.
        """
        ahead, self._ahead = self._ahead, None
        if reading is None and ahead is not None and ahead.kept is kept:
            if not ahead.is_done:
                return ahead
            reading = ahead
        cells = kept.cells
        if kept.path is not None and (unwritten := self._writing.get(kept.path)) is not None:
            cells = unwritten.cells
        elif cells is None and reading is not None and reading.kept is kept:
            cells = reading.cells
        elif cells is None:
            return self._ask_reader(kept)
        if cells is None:
            self._forget(kept, with_file=True)
        else:
            self._kept.move_to_end(kept)
        return cells

    def forget(self, kept: Kept) -> None:
        """Drop a sequence that llama.cpp refused."""
        self._forget(kept, with_file=True)

    def close(self) -> None:
        """Write what is only in memory, the latest first, for as long as the deadline allows."""
        deadline = time.monotonic() + _WRITE_DEADLINE_S
        for kept in reversed([one for one in self._kept if one.cells is not None]):
            self._to_disk(kept, wait_s=max(0.0, deadline - time.monotonic()))
        if self._writer is not None:
            with contextlib.suppress(queue.Full):
                self._to_write.put(None, timeout=max(0.0, deadline - time.monotonic()))
            self._writer.join(max(0.0, deadline - time.monotonic()))
        self._to_read.put(None)

    def _add(self, kept: Kept) -> None:
        self._kept[kept] = None
        self._used_bytes += len(kept.cells or b"")
        self._trees.setdefault(kept.adapters, RadixTree()).insert(kept.tokens, kept)

    def _forget(self, kept: Kept, *, with_file: bool) -> None:
        del self._kept[kept]
        self._used_bytes -= len(kept.cells or b"")
        self._trees[kept.adapters].remove(kept.tokens, kept)
        if with_file and kept.path is not None and self._disk is not None:
            self._disk.remove(kept.path)

    def _to_disk(self, kept: Kept, *, wait_s: float = 0.0) -> None:
        """Hand a sequence to the writer, waiting so long for it to have room; without a disk it is lost."""
        self._forget(kept, with_file=False)
        if self._disk is None:
            return
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="kv-writer", daemon=True)
            self._writer.start()
        path = self._disk.path_of(kept.tokens, kept.adapters)
        self._writing[path] = kept
        try:
            self._to_write.put(kept, block=wait_s > 0, timeout=wait_s or None)
        except queue.Full:
            del self._writing[path]
            log.warning("dropped a conversation of %d tokens: the disk is behind", len(kept.tokens))
        else:
            self._add(dataclasses.replace(kept, cells=None, path=path, replaces=()))

    def _ask_reader(self, kept: Kept) -> Reading:
        """Have the reader fetch a sequence, once for all who wait for it."""
        known = self._readings.get(kept)
        if known is not None:
            return known
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, name="kv-reader", daemon=True)
            self._reader.start()
        reading = self._readings[kept] = Reading(kept)
        self._to_read.put(reading)
        return reading

    def _read(self) -> None:
        while (reading := self._to_read.get()) is not None:
            if self._disk is not None and reading.kept.path is not None:
                reading.cells = self._disk.load(reading.kept.path)
            reading.is_done = True
            del reading  # it is the slots' alone, and large
            self._on_read()

    def _write(self) -> None:
        assert self._disk is not None  # noqa: S101  # nothing is handed over without
        while (kept := self._to_write.get()) is not None:
            try:
                cells = kept.cells or b""
                parts = parts_with_streams(cells, _STREAMS_ON_DISK) if kept.has_plain_cells else [cells]
                path = self._disk.save(kept.tokens, kept.adapters, kept.layout, *parts, used_ns=kept.used_ns)
                for file in kept.replaces:
                    if file != path:
                        self._disk.remove(file)
            except (OSError, DecodeFailed) as error:
                log.warning("could not save a conversation of %d tokens: %s", len(kept.tokens), error)
            finally:
                self._writing.pop(self._disk.path_of(kept.tokens, kept.adapters), None)
