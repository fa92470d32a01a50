"""One class of a line: its tenants, each with its jobs from the oldest on, and which tenant is next.

Theory of operation. The next tenant is the one with the lowest account; among equals, the one whose first job is the
oldest. A heap holds for each tenant an entry that is never above its true place: places rise by themselves when
accounts are charged, and an entry that surfaces too low is put where it belongs; whoever lets a place fall `note`s it.
Cost: O(log n) for n tenants, amortized. Bound: the heap is swept when it outgrows the tenants.
"""

import heapq
from collections.abc import Callable

from actors.scheduler.job import Job

_SWEEP_ABOVE = 64

Accounts = Callable[[str], float]
"""The account of a tenant."""


def insert(jobs: dict[str, Job], job: Job) -> None:
    """Put a job among others by its age; a new one comes last in O(1), one that was there before is put in order."""
    is_last = not jobs or (next(reversed(jobs.values())).queued_s <= job.queued_s and not job.was_returned)
    jobs[job.job_id] = job
    if not is_last:
        in_order = sorted(jobs.values(), key=lambda each: (each.queued_s, not each.was_returned))
        jobs.clear()
        jobs.update((each.job_id, each) for each in in_order)


class Rank:
    """Waiting jobs of one class; owned by its line."""

    __slots__ = ("_order", "tenants")

    def __init__(self) -> None:
        self.tenants: dict[str, dict[str, Job]] = {}
        """Jobs by tenant and id, the oldest first; no empty dictionaries."""
        self._order: list[tuple[float, float, str]] = []
        """Account, time of the first job, tenant."""

    def add(self, job: Job, accounts: Accounts) -> None:
        """Put a job where its age says."""
        jobs = self.tenants.get(job.tenant)
        if jobs is None:
            self.tenants[job.tenant] = {job.job_id: job}
            self.note(job.tenant, accounts)
            return
        insert(jobs, job)
        if next(iter(jobs.values())) is job:
            self.note(job.tenant, accounts)

    def remove(self, job: Job) -> None:
        """Take a job out."""
        jobs = self.tenants[job.tenant]
        del jobs[job.job_id]
        if not jobs:
            del self.tenants[job.tenant]

    def note(self, tenant: str, accounts: Accounts) -> None:
        """Take note that a tenant's place may be lower than before."""
        if tenant in self.tenants:
            heapq.heappush(self._order, self._place(tenant, accounts))
            if len(self._order) > _SWEEP_ABOVE + 2 * len(self.tenants):
                self._order = [self._place(each, accounts) for each in self.tenants]
                heapq.heapify(self._order)

    def first(self, accounts: Accounts) -> Job:
        """Look at the job whose turn it is; there must be one."""
        order, tenants = self._order, self.tenants
        while True:
            account, queued_s, tenant = order[0]
            jobs = tenants.get(tenant)
            if jobs is None:
                heapq.heappop(order)
                continue
            job, now_at = next(iter(jobs.values())), accounts(tenant)
            if account >= now_at and queued_s >= job.queued_s:
                return job
            heapq.heapreplace(order, (now_at, job.queued_s, tenant))

    def _place(self, tenant: str, accounts: Accounts) -> tuple[float, float, str]:
        return accounts(tenant), next(iter(self.tenants[tenant].values())).queued_s, tenant
