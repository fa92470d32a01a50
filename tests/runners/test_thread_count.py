"""How many threads: never beyond the budget, fewer beside others, all again after them, and wrong guesses are rare."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.thread_count import LONGEST_PATIENCE_S, ThreadCount

_WINDOW_S = 0.25


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """Cores that are shared evenly by all that run."""

    n_cores: int
    n_others: float
    """Cores that others would take if they could have them."""

    def share(self, n_threads: int) -> float:
        """Give the part of the time in which a thread has a core."""
        return min(1.0, self.n_cores / (n_threads + self.n_others))

    def watch(self, count: ThreadCount, *, since_s: float, n_windows: int = 400) -> list[int]:
        """Let it observe so many windows, and give the number of threads in each."""
        found = []
        for now_s in itertools.islice(itertools.count(since_s, _WINDOW_S), n_windows):
            n_threads, share = count.now, self.share(count.now)
            found.append(n_threads)
            idle = max(0.0, self.n_cores - n_threads - self.n_others)
            count.observe(now_s, n_waiting=n_threads * (1 - share), n_free=n_threads * share + idle)
        return found


@pytest.mark.parametrize(
    ("budget", "n_waiting", "n_threads"),
    [(2, 0.9, 1), (2, 0.3, 2), (8, 0.1, 8), (8, 0.5, 7), (8, 2.7, 5), (8, 7.5, 1), (1, 0.9, 1)],
)
def test_count_falls_by_what_waits(budget: int, n_waiting: float, n_threads: int) -> None:
    """From one n-th of a thread on, at once; what waits less costs less than a thread would."""
    count = ThreadCount(budget)
    count.observe(0, n_waiting=n_waiting, n_free=0)
    assert count.now == n_threads


def test_count_keeps_what_the_host_bears_while_the_budget_changes() -> None:
    """A budget that comes back does not bring back threads that had to wait."""
    count = ThreadCount(4)
    count.observe(0, n_waiting=2, n_free=0)
    for budget, n_threads in ((1, 1), (4, 2), (2, 2), (8, 2)):
        count.grant(budget)
        assert count.now == n_threads
    count.observe(1, n_waiting=0, n_free=8)
    assert (count.now, count.is_lowered) == (8, False)


_observations = st.tuples(st.floats(0, 100), st.floats(0, 100) | st.just(float("inf")), st.none() | st.integers(1, 64))


@given(st.integers(1, 64), st.lists(_observations, max_size=60))
def test_count_of_any_observations_stays_within_the_budget(
    budget: int, observations: list[tuple[float, float, int | None]]
) -> None:
    """At least one thread, falling iff threads that wait cost more than one would, rising only into what is free."""
    count = ThreadCount(budget)
    for step, (n_waiting, n_free, granted) in enumerate(observations):
        if granted is not None:
            count.grant(granted)
            budget = granted
        before = count.now
        count.observe(step * _WINDOW_S, n_waiting=n_waiting, n_free=n_free)
        assert 1 <= count.now <= budget
        assert (count.now < before) == (n_waiting * before > 1 < before)
        assert count.now <= max(before, n_free + 1)


@given(st.integers(1, 64), st.floats(0, 200), st.data())
def test_count_beside_steady_others_settles_and_comes_back_after_them(
    n_cores: int, n_others: float, data: st.DataObject
) -> None:
    """Soon it changes no more, threads hardly wait, no core that it could use stays idle; alone it has all again."""
    budget = data.draw(st.integers(1, n_cores))
    count = ThreadCount(budget)
    host = Host(n_cores, n_others)
    (settled,) = set(host.watch(count, since_s=0)[-100:])
    assert settled == 1 or settled * settled * (1 - host.share(settled)) <= 1
    assert settled >= min(budget, n_cores - n_others - 1)
    assert Host(n_cores, 0).watch(count, since_s=1000)[-1] == budget


@given(st.integers(2, 64), st.integers(1, 63))
def test_count_that_is_told_of_cores_it_cannot_have_tries_ever_more_rarely(budget: int, n_bearable: int) -> None:
    """Where waiting contradicts what seems free, as under a quota, fewer than one window in a hundred is lost."""
    count, n_wrong, n_windows = ThreadCount(budget), 0, 4000
    for step in range(n_windows):
        is_wrong = count.now > n_bearable
        n_wrong += is_wrong
        count.observe(step * _WINDOW_S, n_waiting=float(count.now - n_bearable) if is_wrong else 0, n_free=budget)
    assert n_wrong <= 10 + n_windows * _WINDOW_S / LONGEST_PATIENCE_S
