"""Models that requests have found before, for trio's thread: as long as their files stay the same, nothing is read.

A look is one `stat` per file, some microseconds where the file system is in memory or on a disk. Where it is not, as
over a network, looks that take too long end for a while: such a store is asked in worker threads.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from registry.cache import Stamp, stamp_of

_MOST = 256
_SLOW_LOOK_S = 0.001
_LONGEST_COUNTED_S = 0.0025
_WEIGHT = 0.2  # of a new sample in the moving average: one look that waited for a core is not a slow store
_NO_LOOKS_S = 30.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stamped:
    """Files as they were when something was learned from them."""

    stamps: tuple[tuple[str, Stamp], ...]

    def holds(self) -> bool:
        """Tell whether they are still the same."""
        try:
            return all(stamp_of(path) == stamp for path, stamp in self.stamps)
        except OSError:
            return False


def stamped(paths: Iterable[str]) -> Stamped:
    """Take the stamps of files.

    Raises:
        OSError: one cannot be looked at.
    """
    return Stamped(tuple((path, stamp_of(path)) for path in paths))


class KnownModels(Generic[T]):
    """What was found by which name, the last `_MOST` of them; owned by trio's thread."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[Stamped, T]] = OrderedDict()
        self._look_s = 0.0
        self._no_looks_before = -float("inf")

    def get(self, name: str) -> T | None:
        """Give what is known by a name; None when that is nothing, is not true any more or cannot be told quickly."""
        found = self._known.get(name)
        started = self._clock()
        if found is None or started < self._no_looks_before:
            return None
        holds = found[0].holds()
        ended = self._clock()
        self._look_s += _WEIGHT * (min(ended - started, _LONGEST_COUNTED_S) - self._look_s)
        if self._look_s > _SLOW_LOOK_S:
            self._look_s, self._no_looks_before = 0.0, ended + _NO_LOOKS_S
        if holds:
            self._known.move_to_end(name)
            return found[1]
        self._known.pop(name)
        return None

    def put(self, name: str, files: Stamped, found: T) -> None:
        """Remember what was found by a name in these files."""
        self._known[name] = (files, found)
        self._known.move_to_end(name)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
