"""The threads of a runner's steps follow what the host has free; for the decode thread.

It looks after every quarter of a second of steps; between looks a step costs an addition.
"""

import math
import time
from collections.abc import Callable

from runners.core_use import CoreUse
from runners.thread_count import ThreadCount

_WINDOW_S = 0.25


class Threads:
    """Counts them, and has the engines use so many."""

    def __init__(self, budget: int, use: Callable[[int], None], cores: CoreUse | None = None) -> None:
        """`use` hears each new number; the engines have `budget` already."""
        self._count = ThreadCount(budget)
        self._use = use
        self._cores = cores or CoreUse()
        self._begin_window()

    @property
    def now(self) -> int:
        """The number that the next step uses."""
        return self._count.now

    def grant(self, budget: int) -> None:
        """Take the scheduler's budget from the next step on."""
        before = self.now
        self._count.grant(budget)
        if self.now != before:
            self._use(self.now)
            self._begin_window()

    def stepped(self, took_s: float) -> None:
        """Learn from a step."""
        self._busy_s += took_s
        if self._busy_s >= _WINDOW_S:
            self._look()
            self._begin_window()

    def _look(self) -> None:
        before, now_s = self.now, time.monotonic()
        n_waiting = (self._cores.waited_s() - self._waited_s) / self._busy_s
        self._count.observe(now_s, n_waiting=n_waiting, n_free=self._n_free(now_s))
        if self.now != before:
            self._use(self.now)

    def _n_free(self, now_s: float) -> float:
        if self._available_s is None or (available_s := self._cores.available_s()) is None:
            return math.inf
        return (available_s - self._available_s) / (now_s - self._began_s)

    def _begin_window(self) -> None:
        """Take the sums from which the next look counts; what is available only where somebody asks."""
        self._began_s = time.monotonic()
        self._busy_s = 0.0
        self._waited_s = self._cores.waited_s()
        self._available_s = self._cores.available_s() if self._count.is_lowered else None
