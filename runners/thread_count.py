"""How many threads a runner's steps use: as many as the host has cores free for, within the scheduler's budget. Pure.

llama.cpp's threads meet some hundred times in a step, and there all wait for the last. Where others take a core, one of
the threads is always without: when W of n threads wait for a core on average, they do about as much as n (1 - W), and
n - 1 that nobody disturbs do n - 1. So fewer do more from W = 1/n on, and one alone waits for nobody.

It falls as soon as that is seen. It rises when cores were seen free, and only after a patience, which doubles with each
rise that soon fell again: however others come and go, what is lost to wrong guesses stays a small part.
"""

_EASE = 0.8
"""It rises to m threads where at most this / m of them would wait: below 1, so that it does not fall at once."""
_FIRST_PATIENCE_S = 0.25
LONGEST_PATIENCE_S = 30.0
_TRIAL_S = 5.0
"""A rise that falls sooner was a wrong guess."""


class ThreadCount:
    """The number of threads, from what waits and what is free; knows no clock."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._bearable: int | None = None
        """What the host bears; None while it has borne every budget."""
        self._patience_s = _FIRST_PATIENCE_S
        self._fell_s = 0.0
        self._rose_s: float | None = None
        """When it rose, until it falls again."""

    @property
    def now(self) -> int:
        """The threads to use."""
        return self._budget if self._bearable is None else min(self._budget, self._bearable)

    @property
    def is_lowered(self) -> bool:
        """Whether it asks what is free."""
        return self._bearable is not None

    def grant(self, budget: int) -> None:
        """Take the most threads from now on."""
        self._budget = budget

    def observe(self, now_s: float, *, n_waiting: float, n_free: float) -> None:
        """Learn from some steps, all of them with the present number of threads.

        Args:
            now_s: a monotonic time.
            n_waiting: threads that were ready to run but had no core, on average.
            n_free: cores that this process had or could have had; counts only where it `is_lowered`.
        """
        if n_waiting * self.now > 1 < self.now:
            self._fall(now_s, n_waiting)
        elif self._bearable is not None and now_s - self._fell_s >= self._patience_s:
            self._rise(now_s, n_free)

    def _fall(self, now_s: float, n_waiting: float) -> None:
        self._bearable = max(1, self.now - max(1, round(n_waiting)))
        self._fell_s = now_s
        if self._rose_s is not None:
            is_wrong = now_s - self._rose_s < _TRIAL_S
            self._patience_s = min(2 * self._patience_s, LONGEST_PATIENCE_S) if is_wrong else _FIRST_PATIENCE_S
            self._rose_s = None

    def _rise(self, now_s: float, n_free: float) -> None:
        fitting = (n for n in range(self._budget, self.now, -1) if (n - n_free) * n <= _EASE)
        n_threads = next(fitting, None)
        if n_threads is not None:
            self._bearable = None if n_threads == self._budget else n_threads
            self._rose_s = now_s
