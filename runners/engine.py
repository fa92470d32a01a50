"""The engine: one model, its slots, and the step that advances every job in them by one decode call.

`step` reads like the idea of continuous batching: pack one token of each decoding slot and chunks of new prompts into
a batch, decode it, sample where a token is due, look for the end, hand over the text. Everything here runs on the
decode thread; nothing blocks but llama.cpp itself. Each capability lives in a file of its own and plugs in here.

Every admitted job ends exactly once: finished, failed or cancelled.
"""

import time
from collections.abc import Callable, Sequence

from actors.errors import DecodeFailed, LlamactorError, LoadFailed
from actors.messages.model import JobRef, LoadPlan, RunnerUse
from actors.messages.runner_to_scheduler import Outcome
from runners.adapter_turns import AdapterTurns
from runners.answers import Answers
from runners.draft_model import DraftModel
from runners.drafting import Drafting
from runners.draws import Draws
from runners.growing_context import GrowingContext
from runners.histories import Histories
from runners.jobs import PreparedJob, RunningJob
from runners.llama.adapters import Adapters
from runners.llama.batch import Batch
from runners.llama.model import Model
from runners.media_step import media_part
from runners.outbox import Outbox
from runners.packing import PrefillBudget, Share, pack
from runners.prefixes import Prefixes
from runners.releases import Releases
from runners.sampling import Sampling
from runners.shifting import shift_if_full
from runners.slots import Slot, slot_for
from runners.speculate import StepCosts
from runners.stops import StopMatcher
from runners.tier import Tier

_ANSWER_TOKENS = 64
"""Room for an answer's beginning that a prompt shall find, lest the cache grow when it has just been evaluated."""
_CALM_S = 0.05
"""With nothing to do for so long, no next request is about to come from a client that waits for nobody."""


class Engine:
    """Continuous batching over the slots of one context, which it owns; for the decode thread."""

    def __init__(
        self,
        model: Model,
        plan: LoadPlan,
        outbox: Outbox,
        on_end: Callable[[JobRef, Outcome], None],
        *,
        costs: StepCosts | None = None,
        draft_model: DraftModel | None = None,
        adapters: Adapters | None = None,
        tier: Tier | None = None,
    ) -> None:
        """Allocate the cache at its first size; `costs` are what steps take, if not as measured here.

        Raises:
            LoadFailed: there is no memory for it.
        """
        self._plan = plan
        self._slots = [Slot(index) for index in range(plan.n_slots)]
        tier = tier or Tier(memory_bytes=0)
        self._context = GrowingContext(model, plan, n_tokens=tier.n_tokens_ahead + _ANSWER_TOKENS)
        self._batch = Batch(plan.n_batch)
        self._budget = PrefillBudget(plan.n_batch)
        self._histories = Histories(self._slots)
        self._prefixes = Prefixes(model, tier, self._histories)
        self._adapters = AdapterTurns(adapters or Adapters(model), self._slots)
        self._drafting = Drafting(model, plan, costs=costs, draft_model=draft_model)
        self._sampling = Sampling(model, num_ctx=plan.num_ctx)
        self._answers = Answers(model, outbox)
        self._releases = Releases(self._answers, self._prefixes, on_end)
        self._draws = Draws(self._answers, self._drafting, self._releases)
        self._idle_since: float | None = None
        self._is_closed = False

    def use(self, *, n_waiting: int) -> RunnerUse:
        """Give the figures of a heartbeat; the token rate is that since the last call."""
        return RunnerUse(
            n_active=sum(slot.job is not None for slot in self._slots),
            n_waiting=n_waiting,
            kv_used_tokens=sum(len(slot.tokens) for slot in self._slots),
            decode_tokens_per_s=self._draws.rate(),
        )

    def jobs_of(self, gateway_id: str) -> list[JobRef]:
        """List the jobs in slots that came from one gateway."""
        return [slot.job.ref for slot in self._slots if slot.job is not None and slot.job.ref.gateway_id == gateway_id]

    @property
    def num_ctx(self) -> int:
        """Tokens that a slot of the cache holds now."""
        return self._context.now.num_ctx

    @property
    def cache_tokens(self) -> int:
        """Tokens that the cache holds now, all slots together."""
        return self._context.now.num_ctx * self._context.now.n_slots

    def grow(self, num_ctx: int) -> None:
        """Have all slots, with `num_ctx` tokens each, at once; running jobs keep their cells.

        Raises:
            LoadFailed, DecodeFailed: as `GrowingContext.grow`.
        """
        self._context.grow(self._slots, num_ctx=num_ctx, n_slots=self._plan.n_slots)

    def admit(self, job: PreparedJob) -> bool:
        """Put a job into a slot; False when all are taken. A job that needs none ends at once."""
        job = job if self._context.now.can_shift else job.unshifted()
        if job.max_new_tokens <= job.n_resumed:
            self._releases.finish_unstarted(job)
            return True
        try:
            adapters = self._adapters.set_for(job, self._context.now)
            slot = slot_for(self._histories.shared(job.prompt), self._slots, adapters=adapters)
            if slot is None:
                return False
            n_tokens = min(len(job.prompt) + _ANSWER_TOKENS, self._plan.num_ctx)
            self._context.make_room(self._slots, n_tokens=n_tokens, n_slots=slot.index + 1)
            self._prefixes.take_over(slot, adapters, self._context.now)
            sampler = self._sampling.sampler(job)
        except LlamactorError as error:
            self._releases.refuse(job, error)
            return True
        n_cached = self._prefixes.begin(slot, job, self._slots, self._context.now)
        led = None
        if slot.reading is None:
            led = self._prefixes.leader_of(job, self._slots, adapters=adapters, n_cached=n_cached)
        leader, leader_tokens = led or (None, 0)
        slot.job = RunningJob(
            prepared=job,
            sampler=sampler,
            logprobs=self._sampling.logprobs(job),
            stops=StopMatcher(job.stop),
            admitted_ns=time.perf_counter_ns(),
            cached_tokens=n_cached,
            leader=leader,
            leader_tokens=leader_tokens,
            lookup=self._drafting.lookup(job),
        )
        self._answers.replay(slot.job)
        self._answers.tell_prefill(slot)
        return True

    def cancel(self, job_id: str) -> bool:
        """Free the slot of a job that nobody waits for; False when no slot holds it."""
        for slot in self._slots:
            if slot.job is not None and slot.job.ref.job_id == job_id:
                self._releases.cancel(slot, self._context.now)
                return True
        return False

    def step(self) -> bool:
        """Advance every job; False when there was nothing to do."""
        started_ns = time.perf_counter_ns()
        busy = [slot for slot in self._slots if slot.job is not None]
        if not busy:
            return False
        self._idle_since = None
        has_media = any(slot.job is not None and slot.job.prepared.spans for slot in busy)
        has_text = self._step_text(busy)
        return (has_media and self._step_media(started_ns)) or has_text

    def rest(self, now: float) -> float | None:
        """Use idle time: keep what has ended; give the monotonic time at which to ask again, None for never."""
        ended = next((slot for slot in self._slots if slot.is_to_be_kept), None)
        if ended is None or any(slot.job is not None for slot in self._slots):
            return None
        if self._idle_since is None:
            self._idle_since = now
        if now < self._idle_since + _CALM_S:
            return self._idle_since + _CALM_S
        self._prefixes.keep_ahead(ended, self._context.now)
        return now

    def _step_text(self, busy: list[Slot]) -> bool:
        shares = self._pack(busy)
        if not shares:
            return False
        try:
            self._make_room(max(len(share.slot.tokens) + share.n_tokens for share in shares))
        except (DecodeFailed, LoadFailed) as error:
            self._releases.fail(self._too_long(shares), error, self._context.now)
            return True
        started_ns = time.perf_counter_ns()
        context = self._context.now
        self._adapters.use(shares[0].slot, context)
        try:
            for share in shares:
                shift_if_full(share.slot, context)
            outputs = self._fill(shares)
            context.decode(self._batch)
        except DecodeFailed as error:
            self._releases.fail([share.slot for share in shares], error, context)
            return True
        self._observe(shares, took_ns=time.perf_counter_ns() - started_ns)
        self._drafting.note(shares, context)
        for share in shares:
            self._answers.tell_prefill(share.slot)
        for share, index in outputs:
            self._draws.advance(share, index, context)
        return True

    def _step_media(self, started_ns: int) -> bool:
        """Decode a part of an image or sound, when a prompt is at one."""
        n_decoding = sum(slot.is_decoding for slot in self._slots)
        part = media_part(self._slots, most_tokens=self._budget.tokens(n_decoding=n_decoding))
        if part is None:
            return False
        try:
            self._make_room(len(part.slot.tokens) + part.n_tokens)
            context = self._context.now
            self._adapters.use(part.slot, context)
            part.decode(context)
        except (DecodeFailed, LoadFailed) as error:
            self._releases.fail([part.slot], error, self._context.now)
            return True
        took_ns = time.perf_counter_ns() - started_ns
        self._budget.observe(n_decoding=n_decoding, n_prefill=part.n_tokens, took_ns=took_ns)
        self._answers.tell_prefill(part.slot)
        if part.ends_prompt:
            self._draws.advance(Share(part.slot, part.n_tokens), part.n_tokens - 1, context)
        return True

    def _pack(self, busy: list[Slot]) -> list[Share]:
        if any(slot.is_waiting for slot in busy):
            for slot in self._prefixes.catch_up(self._slots, self._context.now):
                self._answers.tell_prefill(slot)
        slots = self._adapters.slots_in_turn(busy)
        n_decoding = sum(slot.is_decoding for slot in slots)
        if n_decoding == len(slots):
            shares = [Share(slot, 1) for slot in slots]
        else:
            n_prompts = sum(slot.remaining_prompt() > 0 for slot in slots)
            budget = self._budget.tokens(n_decoding=n_decoding, n_prompts=n_prompts)
            shares = pack(slots, capacity=self._batch.capacity, prefill_tokens=budget)
            if any(slot.next_medium() is not None for slot in busy):
                return shares
        return self._drafting.added(shares, num_ctx=self._plan.num_ctx, capacity=self._batch.capacity)

    def _fill(self, shares: Sequence[Share]) -> list[tuple[Share, int]]:
        """Put the shares into the batch and into the slots' histories; return from which positions tokens are due."""
        self._batch.clear()
        outputs = []
        for share in shares:
            slot, done = share.slot, len(share.slot.tokens)
            assert slot.job is not None  # noqa: S101  # only slots with a job get a share
            prepared = slot.job.prepared
            position = prepared.position(done)
            if slot.next_token is not None:
                drafted = [slot.next_token, *share.draft]
                outputs.append((share, self._batch.add_draft(drafted, position=position, sequence=slot.index)))
                slot.tokens.append(slot.next_token)
                continue
            tokens = prepared.prompt[done : done + share.n_tokens]
            is_due = done + share.n_tokens == len(prepared.prompt)
            index = self._batch.add(tokens, position=position, sequence=slot.index, output_last=is_due)
            slot.tokens += tokens
            if is_due:
                outputs.append((share, index))
        return outputs

    def _observe(self, shares: Sequence[Share], *, took_ns: int) -> None:
        """Learn from a step; one with drafts tells nothing of prompts, and the other way round."""
        n_decoding = sum(share.slot.is_decoding for share in shares)
        n_drafted = sum(len(share.draft) for share in shares)
        n_prefill = len(self._batch) - n_decoding - n_drafted
        if not n_drafted:
            self._budget.observe(n_decoding=n_decoding, n_prefill=n_prefill, took_ns=took_ns)
        if not n_prefill:
            self._drafting.observe(len(self._batch), took_ns)

    def _too_long(self, shares: Sequence[Share]) -> list[Slot]:
        """Give the slots that the cache, which could not grow, holds no further token of."""
        return [share.slot for share in shares if len(share.slot.tokens) + share.n_tokens > self.num_ctx]

    def _make_room(self, n_tokens: int) -> None:
        self._context.make_room(self._slots, n_tokens=n_tokens)

    def set_threads(self, n_threads: int) -> None:
        """Use so many cores from the next step on."""
        self._context.set_threads(n_threads)
        self._budget = PrefillBudget(self._plan.n_batch)  # steps take another time
        self._drafting.set_threads(n_threads)

    def close(self) -> None:
        """Keep what can be kept and free cache and samplers; the model stays the caller's. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._prefixes.keep_all(self._slots, self._context.now)
        for slot in self._slots:
            if slot.job is not None:
                slot.job.sampler.close()
                slot.job = None
        self._drafting.close()
        self._context.close()
