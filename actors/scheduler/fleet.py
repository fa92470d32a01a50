"""The runners of one model, and which of them a job is given to.

A job goes to the runner whose cache is warmest for it (`warmth`), if that has a free slot, else to the one that has the
fewest jobs. That one is found by a heap of (jobs held, runner) whose stale entries are dropped as they surface, so
the choice among any number of replicas costs O(log n). Bound: the heap is swept when it outgrows the fleet.
"""

import heapq
from collections.abc import Callable

from actors.scheduler.runner import Runner

_SWEEP_ABOVE = 64


class Fleet:
    """All runners of one model, in whatever state; owned by the core's table."""

    __slots__ = ("_by_load", "n_leaving", "n_loading", "n_ready", "n_slots", "runners")

    def __init__(self) -> None:
        self.runners: dict[str, Runner] = {}
        self.n_loading = self.n_ready = self.n_leaving = 0
        self.n_slots = 0
        """Slots of the ready ones."""
        self._by_load: list[tuple[int, str]] = []

    def add(self, runner: Runner) -> None:
        """Enter a runner."""
        self.runners[runner.runner_id] = runner
        self.note(runner)

    def remove(self, runner: Runner) -> None:
        """Take a runner out."""
        del self.runners[runner.runner_id]

    def note(self, runner: Runner) -> None:
        """Take note that a runner may have a free slot, or holds more or fewer jobs than before."""
        if not runner.has_free_slot:
            return  # noted again when a slot becomes free
        heapq.heappush(self._by_load, (len(runner.held), runner.runner_id))
        if len(self._by_load) > _SWEEP_ABOVE + 4 * len(self.runners):
            self._by_load = [(len(each.held), each.runner_id) for each in self.runners.values() if each.has_free_slot]
            heapq.heapify(self._by_load)

    @property
    def has_free_slot(self) -> bool:
        """True iff a job could be granted now."""
        return self._first() is not None

    def least_busy(self, suits: Callable[[Runner], bool]) -> Runner | None:
        """Find the runner with a free slot that holds the fewest jobs among those that suit."""
        first = self._first()
        if first is None or suits(first):
            return first
        others = (each for each in self.runners.values() if each.has_free_slot and suits(each))
        return min(others, key=lambda each: len(each.held), default=None)

    def _first(self) -> Runner | None:
        heap = self._by_load
        while heap:
            n_held, runner_id = heap[0]
            runner = self.runners.get(runner_id)
            if runner is not None and len(runner.held) == n_held and runner.has_free_slot:
                return runner
            heapq.heappop(heap)
        return None
