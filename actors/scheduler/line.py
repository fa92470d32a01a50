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

Generations of one tenant and priority stand in a `Lane`, whose first is the best of it by all three. Lanes are sorted
by their places, `(-class, account, age of its first, …)`, of which none is behind its true one: places fall back by
themselves when accounts are charged and firsts leave, and one that comes first too early is put where it belongs.
Whoever lets a lane come forward puts it to its new place. A heap tells when a lane's first rises by a class, likewise
not later than it does.

Costs: O(log n) looks at places for n lanes, amortized, however many wait in each. Bound: admission's, over all lines;
the heap is swept when it outgrows the lanes; of tenants that wait for nothing at most `_ACCOUNTS` accounts are kept.
"""

import heapq
import math
from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter, itemgetter

from actors.scheduler.job import Job
from actors.scheduler.lane import Lane, Place, age

AGING_S = 30.0
"""A step of priority is worth so much waiting."""
LOWEST_PRIORITY, HIGHEST_PRIORITY = -5, 5
_ACCOUNTS = 1024
_SWEEP_ABOVE = 64


class Line:
    """The waiting of one model; owned by the queue."""

    __slots__ = (
        "_accounts",
        "_ages",
        "_in_turn",
        "_lanes",
        "_places",
        "_rises_s",
        "_served_at",
        "loads",
        "n_generations",
        "n_particular",
        "n_waiting",
        "suspects",
    )

    def __init__(self) -> None:
        self.loads: dict[str, Job] = {}
        """All that need no slot, the oldest first."""
        self.suspects: dict[str, Job] = {}
        """The oldest first."""
        self.n_waiting = 0
        """How many wait in all."""
        self.n_particular = 0
        """How many of them name load options."""
        self.n_generations = 0
        """How many wait for a slot, suspects aside."""
        self._lanes: dict[int, dict[str, Lane]] = {}
        """By priority and tenant; no empty ones."""
        self._places: list[Place] = []
        """Where each lane stands, the next first."""
        self._in_turn: list[Lane] = []
        """Whose places these are."""
        self._ages: list[tuple[float, str, int]] = []
        """When a lane may rise by a class, tenant, priority."""
        self._rises_s = math.inf
        """No lane rises before."""
        self._accounts: dict[str, float] = {}
        self._served_at = 0.0
        """The account that was served last."""

    def __len__(self) -> int:
        return self.n_waiting

    @property
    def waits_for_slot(self) -> bool:
        """True iff anybody does."""
        return self.n_waiting > 0 and (self.n_generations > 0 or len(self.suspects) > 0)

    def __iter__(self) -> Iterator[Job]:
        yield from self.suspects.values()
        for lane in self._in_turn:
            yield from lane
        yield from self.loads.values()

    def add(self, job: Job) -> None:
        """Put a job behind all of its kind, class and tenant that are older; one that comes back is the oldest."""
        self.n_waiting += 1
        self.n_particular += not job.is_easy
        if not job.needs_slot:
            _insert(self.loads, job)
        elif job.is_suspect:
            _insert(self.suspects, job)
        else:
            self.n_generations += 1
            self._enter(job)

    def remove(self, job: Job) -> None:
        """Take a job out."""
        self.n_waiting -= 1
        self.n_particular -= not job.is_easy
        if not job.needs_slot:
            del self.loads[job.job_id]
        elif job.is_suspect:
            del self.suspects[job.job_id]
        else:
            self.n_generations -= 1
            lane = self._in_turn[0]
            if lane.first is not job:
                lane = self._lanes[job.priority][job.tenant]
            lane.remove(job)
            if not lane:
                self._close(lane)

    def next_generation(self, now_s: float) -> Job | None:
        """Look at the generation whose turn it is, suspects aside."""
        if self._rises_s <= now_s:
            self._let_age(now_s)
        while self._in_turn:
            lane, place = self._in_turn[0], self._places[0]
            its_class = effective_class(lane, now_s)
            true_place = self._place(lane, -its_class)
            if place >= true_place:
                return lane.first
            del self._in_turn[0], self._places[0]
            self._put(lane, true_place)
            if true_place[0] > place[0]:  # its first has left, and the next is younger
                self._note_age(lane, its_class)
        return None

    def first(self, now_s: float) -> Job | None:
        """Look at the job for whose sake a runner would be loaded: a suspect, the next generation or a load."""
        job = next(iter(self.suspects.values()), None) or self.next_generation(now_s)
        return job or next(iter(self.loads.values()), None)

    def oldest(self) -> Job | None:
        """Look at the job that waits longest; O(n) for n lanes."""
        firsts = [lane.first for lane in self._in_turn]
        firsts += [next(iter(kind.values())) for kind in (self.suspects, self.loads) if kind]
        return min(firsts, key=attrgetter("queued_s"), default=None)

    def charge(self, job: Job, *, usual_s: float) -> None:
        """Charge a generation, on its grant, with the slot time that one usually takes."""
        account = self._served_at = max(self._served_at, self._account(job.tenant))
        self._set(job.tenant, account + usual_s / job.weight)

    def correct(self, job: Job, *, took_s: float) -> None:
        """Replace a charge by what the job really took."""
        if job.charged_s:
            self._set(job.tenant, self._account(job.tenant) + (took_s - job.charged_s) / job.weight)
            if took_s < job.charged_s:
                for lanes in self._lanes.values():
                    lane = lanes.get(job.tenant)
                    if lane is not None:
                        self._come_forward(lane, lane.place[0])

    def in_order(self, now_s: float, *, usual_s: float) -> list[Job]:
        """List all that wait for a slot in the order of their turns, as far as that can be foreseen; O(n log n)."""
        foreseen: list[tuple[tuple[float, float, float], Job]] = []
        accounts: dict[str, float] = {}
        generations = (job for lane in self._in_turn for job in lane)
        by_class = sorted(generations, key=lambda job: (-effective_class(job, now_s), job.queued_s))
        for job in by_class:
            account = accounts.get(job.tenant, self._account(job.tenant))
            foreseen.append(((-effective_class(job, now_s), account, job.queued_s), job))
            accounts[job.tenant] = account + usual_s / job.weight
        return [*self.suspects.values(), *(job for _, job in sorted(foreseen, key=itemgetter(0)))]

    def _enter(self, job: Job) -> None:
        if self._accounts.get(job.tenant, -1.0) < self._served_at:
            self._set(job.tenant, self._served_at)
        lanes = self._lanes.get(job.priority)
        if lanes is None:
            lanes = self._lanes[job.priority] = {}
        lane = lanes.get(job.tenant)
        if lane is None:
            lane = lanes[job.tenant] = Lane(job)
            self._put(lane, self._place(lane, -job.priority))
            self._note_age(lane, job.priority)
        elif lane.add(job):
            self._come_forward(lane, -job.priority)
            self._note_age(lane, job.priority)

    def _close(self, lane: Lane) -> None:
        """Drop a lane in which nobody waits any more."""
        self._leave(lane)
        lanes = self._lanes[lane.priority]
        del lanes[lane.tenant]
        if not lanes:
            del self._lanes[lane.priority]

    def _let_age(self, now_s: float) -> None:
        """Let lanes come forward that may have risen by a class."""
        while self._ages and self._ages[0][0] <= now_s:
            rises_s, tenant, priority = heapq.heappop(self._ages)
            lane = self._lanes.get(priority, {}).get(tenant)
            if lane is not None and lane.rises_s == rises_s:
                its_class = effective_class(lane, now_s)
                self._come_forward(lane, min(lane.place[0], -its_class))
                self._note_age(lane, its_class)
        self._rises_s = self._ages[0][0] if self._ages else math.inf

    def _note_age(self, lane: Lane, its_class: int) -> None:
        """Look at a lane when its first job, now of this class, rises by one."""
        if its_class >= HIGHEST_PRIORITY:
            lane.rises_s = math.inf
            return
        lane.rises_s = lane.queued_s + AGING_S * (its_class - lane.priority + 1)
        self._rises_s = min(self._rises_s, lane.rises_s)
        heapq.heappush(self._ages, (lane.rises_s, lane.tenant, lane.priority))
        if len(self._ages) > _SWEEP_ABOVE + 2 * len(self._in_turn):
            self._ages = [
                (each.rises_s, each.tenant, each.priority) for each in self._in_turn if each.rises_s < math.inf
            ]
            heapq.heapify(self._ages)

    def _come_forward(self, lane: Lane, minus_class: int) -> None:
        self._leave(lane)
        self._put(lane, self._place(lane, minus_class))

    def _leave(self, lane: Lane) -> None:
        at = bisect_left(self._places, lane.place)
        del self._in_turn[at], self._places[at]

    def _put(self, lane: Lane, place: Place) -> None:
        at = bisect_left(self._places, place)
        self._places.insert(at, place)
        self._in_turn.insert(at, lane)
        lane.place = place

    def _place(self, lane: Lane, minus_class: int) -> Place:
        return minus_class, self._account(lane.tenant), lane.queued_s, lane.tenant, lane.priority

    def _account(self, tenant: str) -> float:
        return self._accounts.get(tenant, self._served_at)

    def _set(self, tenant: str, account: float) -> None:
        self._accounts[tenant] = account
        if len(self._accounts) > _ACCOUNTS + len(self._in_turn):
            self._forget_accounts()

    def _forget_accounts(self) -> None:
        """Forget a quarter of what may be kept, the lowest of those who do not wait: they gain least by it."""
        waiting = {lane.tenant for lane in self._in_turn}
        others = sorted((each for each in self._accounts.items() if each[0] not in waiting), key=itemgetter(1))
        for tenant, _ in others[: _ACCOUNTS // 4]:
            del self._accounts[tenant]


def _insert(jobs: dict[str, Job], job: Job) -> None:
    """Put a job among others by its age; a new one comes last in O(1), one that was there before is put in order."""
    is_last = not job.was_returned and (not jobs or next(reversed(jobs.values())).queued_s <= job.queued_s)
    jobs[job.job_id] = job
    if not is_last:
        in_order = sorted(jobs.values(), key=age)
        jobs.clear()
        jobs.update((each.job_id, each) for each in in_order)


def effective_class(job: Job | Lane, now_s: float) -> int:
    """Give a job's priority, or that of a lane's first, raised by its age."""
    if now_s < job.queued_s + AGING_S:
        return job.priority
    n_steps = int((now_s - job.queued_s) / AGING_S)
    if now_s >= job.queued_s + AGING_S * (n_steps + 1):  # a rounded quotient must not be late: a line looks just then
        n_steps += 1
    return min(HIGHEST_PRIORITY, job.priority + n_steps)
