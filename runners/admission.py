"""Jobs between their arrival at the decode thread and their slot: they wait for their gateway's subscription.

Publishing to a topic nobody has subscribed to loses the message in silence, so a job starts only after its gateway
was seen. The wait has a deadline. A gateway that disappears keeps its jobs for a grace, in which it may reconnect.
Cancels may overtake their job, so unknown ones are remembered, the last `_REMEMBERED_CANCELS` of them.
"""

import collections
import dataclasses

from actors.errors import Failure
from actors.messages.model import JobRef
from runners.embedding_jobs import PreparedEmbedding
from runners.jobs import PreparedJob
from runners.outbox import Ending

SUBSCRIPTION_DEADLINE_S = 5.0
GATEWAY_GRACE_S = 2.0
_REMEMBERED_CANCELS = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class RejectedJob:
    """A job that cannot run; its gateway is told why."""

    ref: JobRef
    failure: Failure


@dataclasses.dataclass(frozen=True, slots=True)
class AnsweredJob:
    """A job that needed no slot; its gateway is told the answer."""

    ref: JobRef
    ending: Ending
    text: str = ""


Arrival = PreparedJob | PreparedEmbedding | RejectedJob | AnsweredJob


class Admission:
    """The waiting jobs and the gateways that listen. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Arrival, float]] = {}
        self._listening: set[str] = set()
        self._leaving: dict[str, float] = {}
        self._cancelled: collections.OrderedDict[str, None] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_quiet(self) -> bool:
        """True iff no job waits and no gateway is leaving."""
        return not (self._waiting or self._leaving)

    def arrive(self, job: Arrival, *, now: float) -> bool:
        """Take a new job; False when it was cancelled before it came."""
        if self._cancelled.pop(job.ref.job_id, self) is None:
            return False
        self._waiting[job.ref.job_id] = (job, now + SUBSCRIPTION_DEADLINE_S)
        return True

    def subscribed(self, gateway_id: str) -> None:
        """Note that a gateway listens."""
        self._listening.add(gateway_id)
        self._leaving.pop(gateway_id, None)

    def unsubscribed(self, gateway_id: str, *, now: float) -> None:
        """Note that a gateway's connection is gone."""
        self._listening.discard(gateway_id)
        self._leaving[gateway_id] = now + GATEWAY_GRACE_S

    def cancel(self, job_id: str) -> Arrival | None:
        """Remove a waiting job and return it; remember the id of an unknown one."""
        entry = self._waiting.pop(job_id, None)
        if entry is not None:
            return entry[0]
        self._cancelled[job_id] = None
        while len(self._cancelled) > _REMEMBERED_CANCELS:
            self._cancelled.popitem(last=False)
        return None

    def startable(self) -> list[Arrival]:
        """List the waiting jobs whose gateways listen, oldest first."""
        return [job for job, _ in self._waiting.values() if job.ref.gateway_id in self._listening]

    def started(self, job: Arrival) -> None:
        """Forget a job that has its slot, or was answered."""
        self._waiting.pop(job.ref.job_id, None)

    def overdue(self, *, now: float) -> list[Arrival]:
        """Remove and return the jobs whose gateway did not subscribe in time."""
        late = [job for job, deadline in self._waiting.values() if now >= deadline and not self._hears(job)]
        for job in late:
            self.started(job)
        return late

    def gone(self, *, now: float) -> list[str]:
        """Remove and return the gateways whose grace is over."""
        gone = [gateway_id for gateway_id, deadline in self._leaving.items() if now >= deadline]
        for gateway_id in gone:
            del self._leaving[gateway_id]
        return gone

    def next_deadline(self) -> float | None:
        """Give the time by which `overdue` or `gone` must be asked again, None if never."""
        deadlines = [deadline for job, deadline in self._waiting.values() if not self._hears(job)]
        return min([*deadlines, *self._leaving.values()], default=None)

    def _hears(self, job: Arrival) -> bool:
        return job.ref.gateway_id in self._listening
