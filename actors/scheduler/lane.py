"""A lane of a line: the generations of one tenant and one priority, the oldest first.

In a lane the oldest always goes first, so that a line chooses among lanes and not among jobs. Costs: a new job comes in
and the oldest leaves in O(1); who leaves out of turn stays in the row as `_gone` until it surfaces there, or until
there are more of those than others. One that comes back is put where its age says, in O(n).
"""

from collections import deque
from collections.abc import Iterator

from actors.scheduler.job import Job

_SWEEP_ABOVE = 64

Place = tuple[int, float, float, str, int]
"""Minus the class, account of the tenant, when the first was queued; and whose it is: tenant, priority."""


def age(job: Job) -> tuple[float, bool]:
    """Give what sorts jobs from the oldest on; who was there before stands before those of the same time."""
    return job.queued_s, not job.was_returned


class Lane:
    """Waiting generations that differ in age alone; owned by its line."""

    __slots__ = ("_gone", "_jobs", "_latest_s", "place", "priority", "queued_s", "rises_s", "tenant")

    def __init__(self, job: Job) -> None:
        self.tenant, self.priority = job.tenant, job.priority
        self.queued_s = job.queued_s
        """When its first was queued."""
        self.place: Place = (-job.priority, 0.0, job.queued_s, job.tenant, job.priority)
        """Where its line has it."""
        self.rises_s = 0.0
        """When the line looks whether it has risen by a class; infinity where there is no higher one."""
        self._jobs = deque([job])
        self._latest_s = job.queued_s
        """None of them was queued later."""
        self._gone: set[str] | None = None
        """None for none: most lanes never have one."""

    def __len__(self) -> int:
        return len(self._jobs) - len(self._gone) if self._gone else len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        gone = self._gone
        return (each for each in self._jobs if each.job_id not in gone) if gone else iter(self._jobs)

    @property
    def first(self) -> Job:
        """Look at the oldest; there must be one."""
        return self._jobs[0]

    def add(self, job: Job) -> bool:
        """Put a job where its age says; True iff it is the first now."""
        if self._gone and job.job_id in self._gone:
            self._sweep()
        if self._latest_s <= job.queued_s and not job.was_returned:
            self._latest_s = job.queued_s
            self._jobs.append(job)
            return False
        self._jobs = deque(sorted([*self._jobs, job], key=age))
        self.queued_s = self.first.queued_s
        return self.first is job

    def remove(self, job: Job) -> None:
        """Take a job out."""
        jobs, gone = self._jobs, self._gone
        if jobs[0] is not job:
            self._gone = gone = gone or set()
            gone.add(job.job_id)
            if len(gone) > _SWEEP_ABOVE + len(jobs) // 2:
                self._sweep()
            return
        jobs.popleft()
        while gone and jobs and jobs[0].job_id in gone:
            gone.remove(jobs.popleft().job_id)
        if jobs:
            self.queued_s = jobs[0].queued_s

    def _sweep(self) -> None:
        self._jobs = deque(self)
        self._gone = None
