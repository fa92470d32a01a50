"""The line of one model: who waits for it, and whose turn is next.

Theory of operation. Three kinds wait apart. *Loads*, and inspections with them, need no slot, so they never
stand behind a generation. *Suspects*,
jobs under which a runner has died, go first, but one at a time per runner, so that the guilty one takes no innocent
one along twice. *Generations* are ordered by class, then by fairness, then by age:

* The class of a job is its priority plus one for every `AGING_S` that it has waited, at most the highest. So whatever
  comes later, a job reaches the highest class, and there only fairness and age count: nobody starves.
* Each tenant has an account of the slot time that it was given, divided by its weight; the lowest account is next
  (start-time fair queueing: Goyal, Vin, Cheng 1996). A grant is charged with what such a job usually takes, and
  corrected when it ends. Who comes anew starts at the account that was served last, so idling saves nothing up.

Costs: adding and removing O(1); the next one O(tenants that wait for this model). Bound: admission's, over all lines;
accounts of tenants that wait for nothing are kept for at most `_ACCOUNTS`.
"""

from collections.abc import Iterator
from operator import itemgetter

from actors.scheduler.job import Job

AGING_S = 30.0
"""A step of priority is worth so much waiting."""
LOWEST_PRIORITY, HIGHEST_PRIORITY = -5, 5
_ACCOUNTS = 1024


class Line:
    """The waiting of one model; owned by the queue."""

    __slots__ = ("_accounts", "_served_at", "_tenants", "loads", "n_generations", "n_particular", "suspects")

    def __init__(self) -> None:
        self.loads: dict[str, Job] = {}
        """All that need no slot."""
        self.suspects: dict[str, Job] = {}
        self.n_generations = 0
        self.n_particular = 0
        """How many of all that wait name load options."""
        self._tenants: dict[str, dict[int, dict[str, Job]]] = {}
        """Generations by tenant, priority and job id; no empty dictionaries."""
        self._accounts: dict[str, float] = {}
        self._served_at = 0.0
        """The account that was served last."""

    def __len__(self) -> int:
        return len(self.loads) + len(self.suspects) + self.n_generations

    def __iter__(self) -> Iterator[Job]:
        yield from self.suspects.values()
        for classes in self._tenants.values():
            for jobs in classes.values():
                yield from jobs.values()
        yield from self.loads.values()

    def add(self, job: Job, *, in_front: bool = False) -> None:
        """Put a job at the end of its own kind, or in front of it when it had its turn already."""
        jobs = self._place(job)
        if in_front:
            behind = dict(jobs)
            jobs.clear()
            jobs[job.job_id] = job
            jobs.update(behind)
        else:
            jobs[job.job_id] = job
        self.n_generations += jobs is not self.loads and jobs is not self.suspects
        self.n_particular += not job.is_easy

    def remove(self, job: Job) -> None:
        """Take a job out."""
        self.n_particular -= not job.is_easy
        if not job.needs_slot:
            del self.loads[job.job_id]
        elif job.is_suspect:
            del self.suspects[job.job_id]
        else:
            classes = self._tenants[job.tenant]
            del classes[job.priority][job.job_id]
            if not classes[job.priority]:
                del classes[job.priority]
            if not classes:
                del self._tenants[job.tenant]
            self.n_generations -= 1

    def next_generation(self, now_s: float) -> Job | None:
        """Look at the generation whose turn it is, suspects aside."""
        if not self.n_generations:
            return None
        best, best_class, best_account = None, LOWEST_PRIORITY, 0.0
        for tenant, classes in self._tenants.items():  # the hottest loop of the core
            account = max(self._served_at, self._accounts.get(tenant, 0.0))
            for jobs in classes.values():
                job = next(iter(jobs.values()))
                its_class = effective_class(job, now_s)
                if best is None or its_class > best_class:
                    is_better = True
                elif its_class < best_class or account > best_account:
                    is_better = False
                else:
                    is_better = account < best_account or job.queued_s < best.queued_s
                if is_better:
                    best, best_class, best_account = job, its_class, account
        return best

    def first(self, now_s: float) -> Job | None:
        """Look at the job for whose sake a runner would be loaded: a suspect, the next generation or a load."""
        job = next(iter(self.suspects.values()), None) or self.next_generation(now_s)
        return job or next(iter(self.loads.values()), None)

    def oldest_s(self) -> float:
        """Give the time since which the longest waiting job waits."""
        return min(job.queued_s for job in self)

    def charge(self, job: Job, *, usual_s: float) -> None:
        """Charge a generation, on its grant, with the slot time that one usually takes."""
        account = self._account(job.tenant)
        self._served_at = max(self._served_at, account)
        job.charged_s = usual_s
        self._set(job.tenant, account + usual_s / job.weight)

    def correct(self, job: Job, *, took_s: float) -> None:
        """Replace a charge by what the job really took."""
        if job.charged_s:
            self._set(job.tenant, self._account(job.tenant) + (took_s - job.charged_s) / job.weight)

    def in_order(self, now_s: float, *, usual_s: float) -> list[Job]:
        """List all that wait for a slot in the order of their turns, as far as that can be foreseen; O(n log n)."""
        foreseen: list[tuple[tuple[float, float, float], Job]] = []
        for tenant, classes in self._tenants.items():
            account = self._account(tenant)
            jobs = [job for priority in sorted(classes, reverse=True) for job in classes[priority].values()]
            for job in jobs:
                foreseen.append(((-effective_class(job, now_s), account, job.queued_s), job))
                account += usual_s / job.weight
        return [*self.suspects.values(), *(job for _, job in sorted(foreseen, key=itemgetter(0)))]

    def _place(self, job: Job) -> dict[str, Job]:
        if not job.needs_slot:
            return self.loads
        if job.is_suspect:
            return self.suspects
        return self._tenants.setdefault(job.tenant, {}).setdefault(job.priority, {})

    def _account(self, tenant: str) -> float:
        return max(self._served_at, self._accounts.get(tenant, 0.0))

    def _set(self, tenant: str, account: float) -> None:
        self._accounts.pop(tenant, None)
        self._accounts[tenant] = account
        if len(self._accounts) > _ACCOUNTS:
            del self._accounts[next(iter(self._accounts))]


def effective_class(job: Job, now_s: float) -> int:
    """Give a job's priority, raised by its age."""
    waited_s = now_s - job.queued_s
    return job.priority if waited_s < AGING_S else min(HIGHEST_PRIORITY, job.priority + int(waited_s / AGING_S))
