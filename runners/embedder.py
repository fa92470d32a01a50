"""The embedder: inputs of all embedding jobs, packed into batches and pooled, one native call per step.

A step takes inputs from the jobs in turn, so that a call with one text does not wait for one with thousands, and fills
a batch with whole inputs; where the model allows pieces (`EmbeddingShape`), an input may span several steps. Beside
running answers a step is kept as short as `_BESIDE_NS`. Vectors are told in the order of the inputs.

Runs on the decode thread. Bounds: a job whose vectors its gateway does not read is not advanced; `EmbedPreparer` bounds
inputs and tokens of a job, the scheduler's slots the number of jobs. Every admitted job ends exactly once.
"""

import collections
import time
from collections.abc import Callable

from actors.errors import DecodeFailed, Failure, InvalidRequest, LoadFailed
from actors.messages.model import JobRef, LoadPlan
from actors.messages.runner_to_gateway import DoneReason
from actors.messages.runner_to_scheduler import Outcome
from runners.embedding_jobs import Passage, PreparedEmbedding, RunningEmbedding
from runners.embedding_shape import EmbeddingShape
from runners.gathering import Gathering
from runners.llama.adapters import Adapters
from runners.llama.batch import Batch
from runners.llama.embedding_context import EmbeddingContext
from runners.llama.model import Model
from runners.outbox import Ending, Outbox
from runners.vectors import finite, normalised

_BATCH_TOKENS = 512
"""Attention over a batch grows with its square, and nothing is gained beyond this."""
_BESIDE_NS = 30_000_000
"""How long a step may take beside running answers, where inputs can be evaluated in pieces."""
_SMALLEST_TOKENS = 16
IDLE_S = 60.0


class Embedder:
    """Batched embeddings of one model; owns its context, which exists from the first job on."""

    def __init__(
        self,
        model: Model,
        plan: LoadPlan,
        shape: EmbeddingShape,
        outbox: Outbox,
        on_end: Callable[[JobRef, Outcome], None],
        *,
        adapters: Adapters | None = None,
    ) -> None:
        self._model = model
        self._plan = plan
        self._shape = shape
        self._outbox = outbox
        self._on_end = on_end
        self._adapters = adapters or Adapters(model)
        self._n_threads = plan.n_threads
        self._context: EmbeddingContext | None = None
        self._batch = Batch(shape.n_batch)
        self._jobs: collections.deque[RunningEmbedding] = collections.deque()
        self._passages: list[Passage] = []
        self._free: list[int] = []
        self._gathering = Gathering()
        self._tokens_per_ns = 0.0
        self._used_s = 0.0
        """Monotonic time at which the last job ended."""

    def __len__(self) -> int:
        return len(self._jobs)

    def open(self) -> EmbeddingContext:
        """Make the context if there is none.

        Raises:
            LoadFailed: there is no memory for it, or the model cannot embed.
        """
        if self._context is None:
            self._context = EmbeddingContext(self._model, self._plan, self._shape)
            self._context.set_threads(self._n_threads)
            own = self._adapters.own
            self._context.use_adapters(self._adapters.handles(own), [scale for _, scale in own])
            self._free = list(range(self._context.n_sequences))
        return self._context

    def admit(self, job: PreparedEmbedding) -> None:
        """Take a job; one that the model cannot serve ends at once."""
        try:
            self.open()
        except LoadFailed as error:
            self._outbox.end(job.ref, error.as_failure())
            self._on_end(job.ref, Outcome.FAILED)
            return
        self._jobs.append(RunningEmbedding(job, time.perf_counter_ns()))
        self._gathering.arrived(time.monotonic())

    def jobs_of(self, gateway_id: str) -> list[JobRef]:
        """List the jobs that came from one gateway."""
        return [job.ref for job in self._jobs if job.ref.gateway_id == gateway_id]

    def cancel(self, job_id: str) -> bool:
        """Drop a job that nobody waits for; False when there is none of this id."""
        for job in self._jobs:
            if job.ref.job_id == job_id:
                self._outbox.drop(job.ref)
                self._release(job, Outcome.CANCELLED)
                return True
        return False

    def step(self, *, is_beside: bool, n_coming: int = 0) -> bool:
        """Evaluate one batch; False when there was nothing to do yet.

        `is_beside`: answers are being generated, too. `n_coming` jobs are on their way here.
        """
        if self._context is None or not self._jobs:
            return False
        if self._gathering.waits(time.monotonic(), self._fills_a_batch, n_coming=n_coming):
            return False
        shares = self._pack(self._room(is_beside=is_beside))
        if not shares:
            return False
        self._batch.clear()
        for passage, count in shares:
            tokens = passage.tokens[passage.n_done : passage.n_done + count]
            self._batch.add(tokens, position=passage.n_done, sequence=passage.sequence, output_last=True)
            passage.n_done += count
        self._batch.output_all()
        started_ns = time.perf_counter_ns()
        try:
            self._context.decode(self._batch)
            self._tokens_per_ns = len(self._batch) / max(1, time.perf_counter_ns() - started_ns)
            self._collect(self._context, [passage for passage, _ in shares if not passage.remaining])
        except DecodeFailed as error:
            for job in {passage.job for passage, _ in shares}:
                self._fail(job, error.as_failure())
        return True

    @property
    def gathers_until(self) -> float | None:
        """The monotonic time until which a batch waits for more, None when none does."""
        return self._gathering.until_s if self._jobs else None

    def rest(self, now: float) -> float | None:
        """Free the context when no job came for `IDLE_S`; give the time at which to ask again, None for never.

        Beside generations it holds about what one slot holds, which placement has not planned for.
        """
        if self._context is None or self._jobs:
            return None
        if now < self._used_s + IDLE_S:
            return self._used_s + IDLE_S
        self.close()
        return None

    def set_threads(self, n_threads: int) -> None:
        """Use so many cores from the next step on."""
        self._n_threads = n_threads
        if self._context is not None:
            self._context.set_threads(n_threads)

    def close(self) -> None:
        """Free the context; idempotent."""
        if self._context is not None:
            self._context.close()
            self._context = None

    def _fills_a_batch(self) -> bool:
        n_tokens = n_inputs = 0
        for job in self._jobs:
            n_tokens += job.prepared.n_tokens
            n_inputs += len(job.prepared.inputs)
        return n_tokens >= min(_BATCH_TOKENS, self._shape.n_batch) or n_inputs >= len(self._free)

    def _room(self, *, is_beside: bool) -> int:
        """Give the tokens that the next step may take."""
        most = min(_BATCH_TOKENS, self._shape.n_batch)
        if not (is_beside and self._shape.is_chunkable):
            return most
        return max(_SMALLEST_TOKENS, min(most, int(self._tokens_per_ns * _BESIDE_NS)))

    def _pack(self, room: int) -> list[tuple[Passage, int]]:
        """Choose what goes into the next batch: inputs begun before, then new ones of the jobs in turn."""
        shares: list[tuple[Passage, int]] = []
        for passage in self._passages:
            count = min(passage.remaining, room)
            if count:
                shares.append((passage, count))
                room -= count
        waiting = collections.deque(
            job for job in self._jobs if job.has_unstarted and not self._outbox.holds_vectors(job.ref)
        )
        while waiting and room and self._free:
            job = waiting.popleft()
            n_tokens = len(job.prepared.inputs[job.n_started])
            if not self._has_cells(n_tokens):
                break  # whoever comes next waits, too, or a long input would never find room
            if n_tokens > room and not self._shape.is_chunkable and shares:
                continue  # its turn comes first in a later step, as the jobs rotate
            passage = self._begin(job)
            count = min(n_tokens, room) if self._shape.is_chunkable else n_tokens
            shares.append((passage, count))
            room = max(0, room - count)
            if job.has_unstarted:
                waiting.append(job)
        self._jobs.rotate(-1)
        return shares

    def _has_cells(self, n_tokens: int) -> bool:
        assert self._context is not None  # noqa: S101  # `step` has checked
        return sum(len(passage.tokens) for passage in self._passages) + n_tokens <= self._context.n_cells

    def _begin(self, job: RunningEmbedding) -> Passage:
        passage = Passage(job, job.n_started, self._free.pop())
        job.n_started += 1
        self._passages.append(passage)
        return passage

    def _collect(self, context: EmbeddingContext, finished: list[Passage]) -> None:
        """Take the vectors of finished inputs, tell those whose turn it is, and end the jobs that have all."""
        jobs: dict[RunningEmbedding, None] = {}
        for passage in finished:
            job, prepared = passage.job, passage.job.prepared
            values = context.pooled(passage.sequence)
            self._end_passage(context, passage)
            try:
                job.finished[passage.index] = (
                    normalised(values, dimensions=prepared.dimensions) if prepared.is_normalised else finite(values)
                )
            except InvalidRequest as error:
                self._fail(job, error.as_failure())
            jobs[job] = None
        for job in jobs:
            if job in self._jobs:
                self._tell(job)

    def _tell(self, job: RunningEmbedding) -> None:
        values = []
        while job.n_told in job.finished:
            values.append(job.finished.pop(job.n_told))
            job.n_told += 1
        if values:
            self._outbox.add_vectors(job.ref, b"".join(values))
        if job.is_done:
            self._outbox.end(job.ref, _ending(job))
            self._release(job, Outcome.FINISHED)

    def _fail(self, job: RunningEmbedding, failure: Failure) -> None:
        if job in self._jobs:
            self._outbox.end(job.ref, failure)
            self._release(job, Outcome.FAILED)

    def _release(self, job: RunningEmbedding, outcome: Outcome) -> None:
        assert self._context is not None  # noqa: S101  # it was there when the job was admitted
        for passage in [each for each in self._passages if each.job is job]:
            self._end_passage(self._context, passage)
        self._jobs.remove(job)
        self._used_s = time.monotonic()
        self._on_end(job.ref, outcome)

    def _end_passage(self, context: EmbeddingContext, passage: Passage) -> None:
        context.clear(passage.sequence)
        self._free.append(passage.sequence)
        self._passages.remove(passage)


def _ending(job: RunningEmbedding) -> Ending:
    return Ending(
        reason=DoneReason.STOP,
        prompt_tokens=job.prepared.n_tokens,
        cached_tokens=0,
        generated_tokens=0,
        prompt_ns=time.perf_counter_ns() - job.admitted_ns,
        generate_ns=0,
    )
