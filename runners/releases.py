"""How jobs leave: every one exactly once, finished, failed or cancelled, and what its slot remembers then."""

import sys
from collections.abc import Callable, Iterable

from actors.errors import LlamactorError
from actors.messages.model import JobRef
from actors.messages.runner_to_gateway import DoneReason
from actors.messages.runner_to_scheduler import Outcome
from runners.answers import Answers
from runners.jobs import PreparedJob
from runners.llama.context import Context
from runners.prefixes import Prefixes
from runners.slots import Slot


class Releases:
    """Ends jobs and frees their slots; owned by the decode thread."""

    def __init__(self, answers: Answers, prefixes: Prefixes, on_end: Callable[[JobRef, Outcome], None]) -> None:
        self._answers = answers
        self._prefixes = prefixes
        self._on_end = on_end
        self._n_released = 0

    def refuse(self, job: PreparedJob, error: LlamactorError) -> None:
        """End a job that gets no slot."""
        self._answers.fail(job, error)
        self._on_end(job.ref, Outcome.FAILED)

    def finish_unstarted(self, job: PreparedJob) -> None:
        """End a job that may generate nothing and needs no slot."""
        self._answers.finish_unstarted(job)
        self._on_end(job.ref, Outcome.FINISHED)

    def finish(self, slot: Slot, reason: DoneReason, context: Context) -> None:
        """End a job whose last token was taken."""
        assert slot.job is not None  # noqa: S101  # the caller just sampled for it
        self._answers.finish(slot.job, reason)
        self._release(slot, Outcome.FINISHED, context)

    def cancel(self, slot: Slot, context: Context) -> None:
        """End a job that nobody waits for."""
        assert slot.job is not None  # noqa: S101  # the caller found it there
        self._answers.drop(slot.job)
        self._release(slot, Outcome.CANCELLED, context)

    def abandon(self, slot: Slot, error: LlamactorError, context: Context) -> None:
        """End a job whose next token cannot be chosen; what its cells hold stays known."""
        assert slot.job is not None  # noqa: S101  # a token was due
        context.cut(slot.index, keep_tokens=len(slot.tokens))
        self._answers.fail(slot.job, error)
        self._release(slot, Outcome.FAILED, context)

    def fail(self, slots: Iterable[Slot], error: LlamactorError, context: Context) -> None:
        """End the jobs of a batch whose decode failed: nothing is known of their cells any more."""
        for slot in slots:
            if slot.job is not None:
                self._answers.fail(slot.job, error)
                self._release(slot, Outcome.FAILED, context)
            self._prefixes.clear(slot, context)

    def _release(self, slot: Slot, outcome: Outcome, context: Context) -> None:
        job = slot.job
        assert job is not None  # noqa: S101  # callers free slots that hold one
        job.sampler.close()
        slot.job = slot.next_token = slot.reading = None
        if slot.n_exact < len(slot.tokens):  # a shifted history is not what its tokens would give: keep its front
            self._prefixes.shorten(slot, slot.n_exact, context)
            slot.n_exact = sys.maxsize
        self._n_released += 1
        slot.last_used = self._n_released
        if not job.prepared.counts_places:
            self._prefixes.clear(slot, context)  # whoever took over its cells would count their positions wrongly
        self._on_end(job.ref, outcome)
