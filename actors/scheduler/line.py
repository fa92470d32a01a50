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

Costs: everything is O(log n) for n that wait for this model: a class keeps its tenants in a heap (`ranks`), and a job
is moved to its next class when its age says so, which a heap of ages tells. Bound: admission's, over all lines;
accounts of tenants that wait for nothing are kept for at most `_ACCOUNTS`.
"""

import heapq
from collections.abc import Iterator
from operator import itemgetter

from actors.scheduler.job import Job
from actors.scheduler.ranks import Rank, insert

AGING_S = 30.0
"""A step of priority is worth so much waiting."""
LOWEST_PRIORITY, HIGHEST_PRIORITY = -5, 5
_ACCOUNTS = 1024
_SWEEP_ABOVE = 64


class Line:
    """The waiting of one model; owned by the queue."""

    __slots__ = ("_accounts", "_ages", "_generations", "_ranks", "_served_at", "loads", "n_particular", "suspects")

    def __init__(self) -> None:
        self.loads: dict[str, Job] = {}
        """All that need no slot."""
        self.suspects: dict[str, Job] = {}
        self.n_particular = 0
        """How many of all that wait name load options."""
        self._generations: dict[str, Job] = {}
        self._ranks: dict[int, Rank] = {}
        """The same by class; no empty ranks."""
        self._ages: list[tuple[float, str]] = []
        """When which generation rises by a class; entries of those that have left are dropped as they surface."""
        self._accounts: dict[str, float] = {}
        self._served_at = 0.0
        """The account that was served last."""

    def __len__(self) -> int:
        return len(self.loads) + len(self.suspects) + len(self._generations)

    def __iter__(self) -> Iterator[Job]:
        yield from self.suspects.values()
        yield from self._generations.values()
        yield from self.loads.values()

    @property
    def n_generations(self) -> int:
        """How many wait for a slot, suspects aside."""
        return len(self._generations)

    def add(self, job: Job) -> None:
        """Put a job behind all of its kind, class and tenant that are older; one that comes back is the oldest."""
        self.n_particular += not job.is_easy
        if not job.needs_slot:
            self.loads[job.job_id] = job
        elif job.is_suspect:
            insert(self.suspects, job)
        else:
            self._generations[job.job_id] = job
            if self._accounts.get(job.tenant, -1.0) < self._served_at:
                self._set(job.tenant, self._served_at)
            self._enter(job, job.priority)
            self._note_age(job)

    def remove(self, job: Job) -> None:
        """Take a job out."""
        self.n_particular -= not job.is_easy
        if not job.needs_slot:
            del self.loads[job.job_id]
        elif job.is_suspect:
            del self.suspects[job.job_id]
        else:
            del self._generations[job.job_id]
            self._leave(job)

    def next_generation(self, now_s: float) -> Job | None:
        """Look at the generation whose turn it is, suspects aside."""
        self._let_age(now_s)
        return self._ranks[max(self._ranks)].first(self._account) if self._ranks else None

    def first(self, now_s: float) -> Job | None:
        """Look at the job for whose sake a runner would be loaded: a suspect, the next generation or a load."""
        job = next(iter(self.suspects.values()), None) or self.next_generation(now_s)
        return job or next(iter(self.loads.values()), None)

    def charge(self, job: Job, *, usual_s: float) -> None:
        """Charge a generation, on its grant, with the slot time that one usually takes."""
        account = self._served_at = max(self._served_at, self._account(job.tenant))
        job.charged_s = usual_s
        self._set(job.tenant, account + usual_s / job.weight)

    def correct(self, job: Job, *, took_s: float) -> None:
        """Replace a charge by what the job really took."""
        if job.charged_s:
            self._set(job.tenant, self._account(job.tenant) + (took_s - job.charged_s) / job.weight)
            if took_s < job.charged_s:
                for rank in self._ranks.values():
                    rank.note(job.tenant, self._account)

    def in_order(self, now_s: float, *, usual_s: float) -> list[Job]:
        """List all that wait for a slot in the order of their turns, as far as that can be foreseen; O(n log n)."""
        foreseen: list[tuple[tuple[float, float, float], Job]] = []
        accounts: dict[str, float] = {}
        by_class = sorted(self._generations.values(), key=lambda job: (-effective_class(job, now_s), job.queued_s))
        for job in by_class:
            account = accounts.get(job.tenant, self._account(job.tenant))
            foreseen.append(((-effective_class(job, now_s), account, job.queued_s), job))
            accounts[job.tenant] = account + usual_s / job.weight
        return [*self.suspects.values(), *(job for _, job in sorted(foreseen, key=itemgetter(0)))]

    def _enter(self, job: Job, its_class: int) -> None:
        job.rank = its_class
        rank = self._ranks.get(its_class)
        if rank is None:
            rank = self._ranks[its_class] = Rank()
        rank.add(job, self._account)

    def _leave(self, job: Job) -> None:
        rank = self._ranks[job.rank]
        rank.remove(job)
        if not rank.tenants:
            del self._ranks[job.rank]

    def _let_age(self, now_s: float) -> None:
        """Move those that have waited long enough to their next class."""
        while self._ages and self._ages[0][0] <= now_s:
            entry = heapq.heappop(self._ages)
            job = self._generations.get(entry[1])
            if job is not None and entry == _rises(job):
                self._leave(job)
                self._enter(job, max(job.rank + 1, effective_class(job, now_s)))
                self._note_age(job)

    def _note_age(self, job: Job) -> None:
        if job.rank < HIGHEST_PRIORITY:
            heapq.heappush(self._ages, _rises(job))
        if len(self._ages) > _SWEEP_ABOVE + 2 * len(self._generations):
            self._ages = [_rises(each) for each in self._generations.values() if each.rank < HIGHEST_PRIORITY]
            heapq.heapify(self._ages)

    def _account(self, tenant: str) -> float:
        return self._accounts.get(tenant, self._served_at)

    def _set(self, tenant: str, account: float) -> None:
        self._accounts.pop(tenant, None)
        self._accounts[tenant] = account
        if len(self._accounts) > _ACCOUNTS:
            del self._accounts[next(iter(self._accounts))]


def effective_class(job: Job, now_s: float) -> int:
    """Give a job's priority, raised by its age."""
    waited_s = now_s - job.queued_s
    return job.priority if waited_s < AGING_S else min(HIGHEST_PRIORITY, job.priority + int(waited_s / AGING_S))


def _rises(job: Job) -> tuple[float, str]:
    return job.queued_s + AGING_S * (job.rank - job.priority + 1), job.job_id
