"""The queue: jobs that wait for a slot or a load, in one line per model (`line`).

Bound: `OLLAMA_MAX_QUEUE` jobs over all models, loaded or not, held by admission (`is_full`), which refuses what would
be beyond it. A job that a runner could not be given goes back to its place and may stand over the bound: it was
admitted before. Lines that are empty are kept for their accounts, at most `_LINES_KEPT` of them.
"""

from collections.abc import Iterator

from actors.scheduler.job import Job
from actors.scheduler.line import Line

_LINES_KEPT = 1024
_NOBODY = Line()


class WaitQueue:
    """Waiting jobs by model key; owned by the core."""

    __slots__ = ("_lines", "_max_queue", "_n_waiting")

    def __init__(self, max_queue: int) -> None:
        self._max_queue = max_queue
        self._lines: dict[str, Line] = {}
        self._n_waiting = 0

    @property
    def is_full(self) -> bool:
        """True iff no further job may be admitted."""
        return self._n_waiting >= self._max_queue

    def __len__(self) -> int:
        return self._n_waiting

    def __iter__(self) -> Iterator[Job]:
        for line in self._lines.values():
            yield from line

    def line(self, model_key: str) -> Line:
        """Look at a model's line; an empty one is not to be changed."""
        return self._lines.get(model_key, _NOBODY)

    def line_to_charge(self, model_key: str) -> Line:
        """Give a model's line, made if need be, whose accounts are to be changed."""
        line = self._lines.get(model_key)
        if line is None:
            self._forget_an_empty_line()
            line = self._lines[model_key] = Line()
        return line

    def add(self, job: Job) -> None:
        """Put a job into its model's line, by its age."""
        self.line_to_charge(job.model.key).add(job)
        self._n_waiting += 1

    def remove(self, job: Job) -> None:
        """Take a waiting job out."""
        self._lines[job.model.key].remove(job)
        self._n_waiting -= 1

    def n_waiting_for(self, model_key: str) -> int:
        """Count the jobs that wait for a model."""
        return len(self.line(model_key))

    def waiting_for(self, model_key: str) -> list[Job]:
        """List the jobs that wait for a model."""
        return list(self.line(model_key))

    def waited_for(self) -> list[str]:
        """List the models that are waited for."""
        return [key for key, line in self._lines.items() if len(line)]

    def _forget_an_empty_line(self) -> None:
        if len(self._lines) >= _LINES_KEPT:
            empty = next((key for key, line in self._lines.items() if not len(line)), None)
            if empty is not None:
                del self._lines[empty]
