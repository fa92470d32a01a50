"""The runners of one model, and which of them a job is given to.

A job goes to the runner whose cache is warmest for it (`warmth`), if that has a free slot, else to one that has the
fewest jobs: among equals to the one that came there last, so that those that are not needed stay idle and may go.
Runners with a free slot are listed by the number of jobs that they hold; whoever changes that `note`s it. So the choice
among any number of replicas costs O(1).
"""

from collections.abc import Callable

from actors.scheduler.runner import Runner


class Fleet:
    """All runners of one model, in whatever state; owned by the core's table."""

    __slots__ = ("_by_load", "_fewest", "_n_listed", "n_leaving", "n_loading", "n_ready", "n_slots", "runners")

    def __init__(self) -> None:
        self.runners: dict[str, Runner] = {}
        self.n_loading = self.n_ready = self.n_leaving = 0
        self.n_slots = 0
        """Slots of the ready ones."""
        self._by_load: list[dict[str, Runner]] = []
        """Those with a free slot, at the number of jobs that they hold, in the order in which they came there.
        `Runner.listed_at` tells where."""
        self._n_listed = 0
        self._fewest = 0
        """Nobody is listed at fewer jobs."""

    def add(self, runner: Runner) -> None:
        """Enter a runner."""
        self.runners[runner.runner_id] = runner
        self.note(runner)

    def remove(self, runner: Runner) -> None:
        """Take a runner out."""
        del self.runners[runner.runner_id]
        self._list(runner, None)

    def note(self, runner: Runner) -> None:
        """Take note that a runner may have a free slot or none any more, or holds more or fewer jobs than before."""
        self._list(runner, len(runner.held) if runner.has_free_slot else None)

    @property
    def has_free_slot(self) -> bool:
        """True iff a job could be granted now."""
        return self._n_listed > 0

    def lists(self, runner: Runner) -> bool:
        """True iff a runner is listed, rightly, as one with a free slot."""
        return runner.listed_at == len(runner.held)

    def least_busy(self, suits: Callable[[Runner], bool]) -> Runner | None:
        """Find the runner with a free slot that holds the fewest jobs among those that suit."""
        if not self._n_listed:
            return None
        while not self._by_load[self._fewest]:
            self._fewest += 1
        for place in range(self._fewest, len(self._by_load)):
            for runner in reversed(self._by_load[place].values()):
                if suits(runner):
                    return runner
        return None

    def _list(self, runner: Runner, place: int | None) -> None:
        before = runner.listed_at
        if place == before:
            return
        runner.listed_at = place
        if before is not None:
            del self._by_load[before][runner.runner_id]
            self._n_listed -= 1
        if place is None:
            return
        while len(self._by_load) <= place:
            self._by_load.append({})
        self._by_load[place][runner.runner_id] = runner
        self._fewest = min(self._fewest, place)
        self._n_listed += 1
