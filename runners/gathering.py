"""When a batch of embeddings waits for more: only where calls come in numbers, until they pause, and never for long.

Calls that come at once reach a runner one by one, because whoever brings them needs the cores that it computes with: a
step beside them takes them away, and is the smaller for it. A call that comes alone never waits.
"""

import dataclasses
from collections.abc import Callable

PAUSE_PER_CALL_S = 0.001
"""How long a pause must be to end a wait, for each call that has come: the more have, the likelier are further ones.
They come in clumps, because the processes that bring them take turns on the cores."""
LONGEST_PAUSE_S = 0.006
MOST_S = 0.03


@dataclasses.dataclass(slots=True)
class Gathering:
    """The calls that have come since the last step began; times are monotonic seconds."""

    n_new: int = 0
    last_s: float = 0.0
    """When the latest of them came."""
    since_s: float | None = None
    """When the wait began that is going on."""

    def arrived(self, now_s: float) -> None:
        """Note that a call has come."""
        self.n_new += 1
        self.last_s = now_s

    def waits(self, now_s: float, is_full: Callable[[], bool], *, n_coming: int = 0) -> bool:
        """Tell whether the next step is put off; else it begins now, and counts anew.

        `n_coming` calls are known to be on their way; `is_full` tells that nothing more fits.
        """
        if self.n_new + n_coming > 1 and not is_full():
            self.since_s = now_s if self.since_s is None else self.since_s
            if now_s < min(self.last_s + self._pause_s, self.since_s + MOST_S):
                return True
        self.n_new, self.since_s = 0, None
        return False

    @property
    def until_s(self) -> float | None:
        """When the wait ends if no more calls come; None when there is none."""
        return None if self.since_s is None else min(self.last_s + self._pause_s, self.since_s + MOST_S)

    @property
    def _pause_s(self) -> float:
        return min(LONGEST_PAUSE_S, self.n_new * PAUSE_PER_CALL_S)
