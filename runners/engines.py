"""The engines of one loaded model behind one face: generation, and embeddings beside it.

An embedding model has no engine for generations, so no cache of slots is made for it. In a step generation goes first,
and the embedder is told whether it must be brief.
"""

from collections.abc import Callable, Sequence

import msgspec

from actors.errors import LoadFailed
from actors.log import get_logger
from actors.messages.model import JobRef, LoadPlan, RunnerUse
from actors.messages.runner_to_scheduler import Outcome
from runners.draft_model import DraftModel
from runners.embedder import Embedder
from runners.embedding_jobs import PreparedEmbedding
from runners.embedding_shape import embedding_shape
from runners.engine import Engine
from runners.jobs import PreparedJob
from runners.llama.adapters import Adapters
from runners.llama.model import Model
from runners.outbox import Outbox
from runners.tier import Tier

log = get_logger(__name__)


class Engines:
    """Owns what computes with a model; for the decode thread."""

    def __init__(
        self,
        model: Model,
        plan: LoadPlan,
        outbox: Outbox,
        on_end: Callable[[JobRef, Outcome], None],
        *,
        is_embedding: bool,
        tier: Tier | None = None,
        adapters: Sequence[str] = (),
        draft_path: str = "",
    ) -> None:
        """Allocate what the model needs at once.

        Raises:
            LoadFailed: there is no memory for it, or llama.cpp refused an adapter.
        """
        loaded = Adapters(model, adapters)
        self._embedder = Embedder(model, plan, embedding_shape(model, plan), outbox, on_end, adapters=loaded)
        # llama.cpp aborts with fewer tokens in a batch than there are sequences.
        roomy = msgspec.structs.replace(plan, n_batch=max(plan.n_batch, plan.n_slots))
        draft_model = None if is_embedding or not draft_path else _draft_model(draft_path, model, roomy)
        self._generator = (
            None
            if is_embedding
            else Engine(model, roomy, outbox, on_end, adapters=loaded, draft_model=draft_model, tier=tier)
        )
        if is_embedding:
            self._embedder.open()

    @property
    def cache_tokens(self) -> int:
        """Tokens that the cache of generations holds now, all slots together; 0 where there is none."""
        return 0 if self._generator is None else self._generator.cache_tokens

    def admit(self, job: PreparedJob | PreparedEmbedding) -> bool:
        """Take a job; False when it must wait for a slot."""
        if isinstance(job, PreparedEmbedding):
            self._embedder.admit(job)
            return True
        assert self._generator is not None  # noqa: S101  # the runner refuses generations of an embedding model
        return self._generator.admit(job)

    def cancel(self, job_id: str) -> bool:
        """Drop a job that nobody waits for; False when none of this id is here."""
        return (self._generator is not None and self._generator.cancel(job_id)) or self._embedder.cancel(job_id)

    def jobs_of(self, gateway_id: str) -> list[JobRef]:
        """List the jobs that came from one gateway."""
        generations = [] if self._generator is None else self._generator.jobs_of(gateway_id)
        return generations + self._embedder.jobs_of(gateway_id)

    def step(self, n_coming: int = 0) -> bool:
        """Advance every job; False when there was nothing to do yet. `n_coming` jobs are on their way here."""
        has_generated = self._generator is not None and self._generator.step()
        has_embedded = self._embedder.step(is_beside=has_generated, n_coming=n_coming)
        return has_generated or has_embedded

    @property
    def gathers_until(self) -> float | None:
        """The monotonic time until which a batch of embeddings waits for more, None when none does."""
        return self._embedder.gathers_until

    def use(self, *, n_waiting: int) -> RunnerUse:
        """Give the figures of a heartbeat."""
        use = RunnerUse(n_waiting=n_waiting) if self._generator is None else self._generator.use(n_waiting=n_waiting)
        return msgspec.structs.replace(use, n_active=use.n_active + len(self._embedder))

    def rest(self, now: float) -> float | None:
        """Use idle time and free what is idle for long; give the time at which to ask or step again, None for never."""
        if self.gathers_until is not None:
            return self.gathers_until
        if self._generator is None:
            return None
        times = [each for each in (self._generator.rest(now), self._embedder.rest(now)) if each is not None]
        return min(times, default=None)

    def set_threads(self, n_threads: int) -> None:
        """Use so many cores from the next step on."""
        if self._generator is not None:
            self._generator.set_threads(n_threads)
        self._embedder.set_threads(n_threads)

    def close(self) -> None:
        """Free caches, samplers and buffers; idempotent. The model stays the caller's."""
        if self._generator is not None:
            self._generator.close()
        self._embedder.close()


def _draft_model(path: str, model: Model, plan: LoadPlan) -> DraftModel | None:
    """Load a draft model; one that does not fit is left out, because answers need none."""
    try:
        return DraftModel(path, model, plan)
    except LoadFailed as error:
        log.error("the model answers without its DRAFT: %s", error)
        return None
