"""When to start again what has died: at once the first time, then ever later, and afresh after a stable minute."""

_FIRST_DELAY_S = 0.25
_LONGEST_DELAY_S = 30.0
_STABLE_S = 60.0
"""A life of this length forgets the deaths before it."""


class RestartPolicy:
    """Counts the deaths of one process; owned by whoever restarts it.

    Args:
        longest_s: bound of the delay, in seconds.
    """

    __slots__ = ("_longest_s", "n_deaths")

    def __init__(self, *, longest_s: float = _LONGEST_DELAY_S) -> None:
        self._longest_s = longest_s
        self.n_deaths = 0
        """Deaths in a row, none of them after a stable life."""

    def delay_s(self, lived_s: float) -> float:
        """Record a death after a life of `lived_s` seconds and give the delay before the next start."""
        self.n_deaths = 1 if lived_s >= _STABLE_S else self.n_deaths + 1
        if self.n_deaths == 1:
            return 0.0
        # The exponent is bounded, too: a float overflows after a thousand deaths.
        return min(_FIRST_DELAY_S * 2.0 ** min(self.n_deaths - 2, 16), self._longest_s)
