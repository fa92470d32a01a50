"""Which jobs have ended, so that a late duplicate does not run again.

Nearly all end at their first attempt, so their ids are kept as two sets, of which the older is forgotten when the
newer is full (as `remembered` does), and only other attempts are noted. A look at a set that lacks an id touches one
place in memory, where a table of texts must look at what it finds there. Bound: the last `kept` jobs at least, at most
twice as many.
"""

from actors.scheduler.remembered import Remembered

_FIRST = 1


class EndedJobs:
    """Attempts by job id; owned by the core."""

    __slots__ = ("_kept", "_later", "_new", "_old")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._new: set[str] = set()
        self._old: set[str] = set()
        self._later: Remembered[str, int] = Remembered(kept)
        """The attempts that were not the first."""

    def __len__(self) -> int:
        return len(self._new | self._old)

    def attempt(self, job_id: str) -> int:
        """Give the attempt at which a job ended; 0 if none is known."""
        if job_id in self._new or job_id in self._old:
            later = self._later.get(job_id)
            return _FIRST if later is None else later
        return 0

    def note(self, job_id: str, attempt: int) -> None:
        """Note that a job has ended."""
        self._new.add(job_id)
        if attempt != _FIRST:
            self._later.note(job_id, attempt)
        if len(self._new) >= self._kept:
            self._old, self._new = self._new, set()
