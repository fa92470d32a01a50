"""The queue: jobs that wait for a slot or a load, first come first served per model.

Bound: `OLLAMA_MAX_QUEUE` jobs over all models, held by admission (`is_full`), which refuses what would be beyond it.
A job that a runner could not be given goes back to the front and may stand over the bound: it was admitted before.
Adding, removing and taking the oldest are O(1); `by_age` is O(m log m) for m waiting models.
"""

from collections.abc import Iterator

from actors.messages.gateway_to_scheduler import JobKind
from actors.scheduler.job import Job


class _Line:
    """The waiting of one model: loads apart, since they need no slot and so never wait behind a generation."""

    __slots__ = ("generations", "loads")

    def __init__(self) -> None:
        self.generations: dict[str, Job] = {}
        self.loads: dict[str, Job] = {}

    def of(self, job: Job) -> dict[str, Job]:
        return self.loads if job.kind is JobKind.LOAD else self.generations

    def head(self) -> Job:
        heads = [next(iter(jobs.values())) for jobs in (self.generations, self.loads) if jobs]
        return min(heads, key=lambda job: job.queued_s)

    def __len__(self) -> int:
        return len(self.generations) + len(self.loads)


class WaitQueue:
    """Waiting jobs by model key; owned by the core."""

    def __init__(self, max_queue: int) -> None:
        self._max_queue = max_queue
        self._lines: dict[str, _Line] = {}
        self._n_waiting = 0

    @property
    def is_full(self) -> bool:
        """True iff no further job may be admitted."""
        return self._n_waiting >= self._max_queue

    def __len__(self) -> int:
        return self._n_waiting

    def __iter__(self) -> Iterator[Job]:
        for line in self._lines.values():
            yield from line.generations.values()
            yield from line.loads.values()

    def add(self, job: Job) -> None:
        """Put a job at the end of its model's line."""
        self._lines.setdefault(job.model.key, _Line()).of(job)[job.job_id] = job
        self._n_waiting += 1

    def put_back(self, job: Job) -> None:
        """Put a job at the front of its model's line."""
        line = self._lines.setdefault(job.model.key, _Line())
        line.generations = {job.job_id: job, **line.generations}
        self._n_waiting += 1

    def remove(self, job: Job) -> None:
        """Take a waiting job out."""
        line = self._lines[job.model.key]
        del line.of(job)[job.job_id]
        self._n_waiting -= 1
        if not len(line):
            del self._lines[job.model.key]

    def n_waiting_for(self, model_key: str) -> int:
        """Count the jobs that wait for a model."""
        line = self._lines.get(model_key)
        return len(line) if line else 0

    def waiting_for(self, model_key: str) -> list[Job]:
        """List the jobs that wait for a model."""
        line = self._lines.get(model_key)
        return [*line.generations.values(), *line.loads.values()] if line else []

    def loads_for(self, model_key: str) -> list[Job]:
        """List the load jobs that wait for a model."""
        line = self._lines.get(model_key)
        return list(line.loads.values()) if line else []

    def next_generation(self, model_key: str) -> Job | None:
        """Look at the generation that is next for a model."""
        line = self._lines.get(model_key)
        return next(iter(line.generations.values()), None) if line else None

    def head(self, model_key: str) -> Job | None:
        """Look at the job that waited longest for a model, of either kind."""
        line = self._lines.get(model_key)
        return line.head() if line else None

    def by_age(self) -> list[str]:
        """List the model keys that are waited for, the longest waiting first."""
        if len(self._lines) == 1:
            return list(self._lines)
        return sorted(self._lines, key=lambda key: self._lines[key].head().queued_s)
