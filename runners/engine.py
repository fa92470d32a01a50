"""The engine: one model, its slots, and the step that advances every job in them by one decode call.

`step` reads like the idea of continuous batching: pack one token of each decoding slot and chunks of new prompts into
a batch, decode it, sample where a token is due, look for the end, hand over the text. Everything here runs on the
decode thread; nothing blocks but llama.cpp itself. Each capability lives in a file of its own and plugs in here.

Every admitted job ends exactly once: finished, failed or cancelled.

The cache starts small and grows when a sequence needs more, by powers of two up to what was planned: llama.cpp zeroes
it at once, which takes longer than to load a small model (755 MB: 0.31 s, of 0.45 s to the first token), and a short
cache has a quicker layout (runners/llama/layout.py).
"""

import sys
import time
from collections.abc import Callable, Sequence

from actors.errors import DecodeFailed, Failure, InvalidRequest, LlamactorError
from actors.messages.model import JobRef, LoadPlan, RunnerUse
from actors.messages.runner_to_gateway import DoneReason
from actors.messages.runner_to_scheduler import Outcome
from runners.draft_model import DraftModel
from runners.jobs import PreparedJob, RunningJob
from runners.llama.adapters import Adapters
from runners.llama.batch import Batch
from runners.llama.context import Context
from runners.llama.layout import SHORT_CTX
from runners.llama.model import Model
from runners.lookup import PromptLookup
from runners.media_step import media_part
from runners.model_drafts import ModelDrafts
from runners.outbox import Ending, Outbox
from runners.packing import PrefillBudget, Share, pack
from runners.prefixes import Prefixes
from runners.remarks import remarks
from runners.sampling import Sampling
from runners.shifting import shift_if_full
from runners.slots import Slot, slot_for
from runners.speculate import StepCosts, with_drafts
from runners.stops import StopMatcher
from runners.tier import Tier

FIRST_NUM_CTX = SHORT_CTX
"""Tokens per slot until the cache grows: a question and its answer."""
_SECOND_NUM_CTX = 2048
_ANSWER_TOKENS = 64
"""Room for an answer's beginning that a prompt shall find, lest the cache grow when it has just been evaluated."""


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
        self._model = model
        self._adapters = adapters or Adapters(model)
        self._prefixes = Prefixes(model, tier or Tier(memory_bytes=0))
        self._turns = 0
        self._plan = plan
        # What a device has free now may be taken later.
        self._context = Context(model, plan, num_ctx=plan.num_ctx if plan.n_gpu_layers else FIRST_NUM_CTX)
        self._n_threads = plan.n_threads
        self._outbox = outbox
        self._on_end = on_end
        self._slots = [Slot(index) for index in range(plan.n_slots)]
        self._batch = Batch(plan.n_batch)
        self._budget = PrefillBudget(plan.n_batch)
        self._costs = costs or StepCosts()
        self._model_drafts = ModelDrafts(draft_model) if draft_model is not None else None
        self._sampling = Sampling(model, num_ctx=plan.num_ctx)
        self._released = 0
        self._is_closed = False
        self._n_decoded = 0
        self._reported = (0, time.perf_counter_ns())

    def use(self, *, n_waiting: int) -> RunnerUse:
        """Give the figures of a heartbeat; the token rate is that since the last call."""
        now_ns = time.perf_counter_ns()
        rate = (self._n_decoded - self._reported[0]) * 1e9 / max(1, now_ns - self._reported[1])
        self._reported = (self._n_decoded, now_ns)
        return RunnerUse(
            n_active=sum(slot.job is not None for slot in self._slots),
            n_waiting=n_waiting,
            kv_used_tokens=sum(len(slot.tokens) for slot in self._slots),
            decode_tokens_per_s=rate,
        )

    def jobs_of(self, gateway_id: str) -> list[JobRef]:
        """List the jobs in slots that came from one gateway."""
        return [slot.job.ref for slot in self._slots if slot.job is not None and slot.job.ref.gateway_id == gateway_id]

    def admit(self, job: PreparedJob) -> bool:
        """Put a job into a slot; False when all are taken. A job that may generate nothing ends at once."""
        job = job if self._context.can_shift else job.unshifted()
        if job.max_new_tokens <= job.n_resumed:
            self._end_unstarted(job)
            return True
        try:
            adapters = self._adapters.set_of(job.adapters, busy=self._busy_adapters(), detach=self._detach)
        except InvalidRequest as error:
            return self._refuse(job, error)
        slot = slot_for(job.prompt, self._slots, adapters=adapters)
        if slot is None:
            return False
        try:
            sampler = self._sampling.sampler(job)
        except LlamactorError as error:
            return self._refuse(job, error)
        self._prefixes.take_over(slot, adapters, self._context)
        self._make_room(min(len(job.prompt) + _ANSWER_TOKENS, self._plan.num_ctx))
        n_cached = self._prefixes.begin(slot, job, self._slots, self._context)
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
            lookup=PromptLookup(job.prompt) if self._speculates(job) else None,
        )
        self._replay(slot.job)
        self._tell_prefill(slot)
        return True

    def cancel(self, job_id: str) -> bool:
        """Free the slot of a job that nobody waits for; False when no slot holds it."""
        for slot in self._slots:
            if slot.job is not None and slot.job.ref.job_id == job_id:
                self._outbox.drop(slot.job.ref)
                self._release(slot, Outcome.CANCELLED)
                return True
        return False

    def step(self) -> bool:
        """Advance every job; False when there was nothing to do."""
        started_ns = time.perf_counter_ns()
        has_text = self._step_text()
        return self._step_media(started_ns) or has_text

    def _step_text(self) -> bool:
        shares = self._pack()
        if not shares:
            return False
        self._make_room(max(len(share.slot.tokens) + share.n_tokens for share in shares))
        started_ns = time.perf_counter_ns()
        self._use_adapters_of(shares[0].slot)
        try:
            for share in shares:
                shift_if_full(share.slot, self._context)
            outputs = self._fill(shares)
            self._context.decode(self._batch)
        except DecodeFailed as error:
            self._fail(shares, error.as_failure())
            return True
        self._observe(shares, took_ns=time.perf_counter_ns() - started_ns)
        for share in shares:
            self._tell_prefill(share.slot)
        for share, index in outputs:
            self._advance(share, index)
        return True

    def _step_media(self, started_ns: int) -> bool:
        """Decode a part of an image or sound, when a prompt is at one."""
        n_decoding = sum(slot.is_decoding for slot in self._slots)
        part = media_part(self._slots, most_tokens=self._budget.tokens(n_decoding=n_decoding))
        if part is None:
            return False
        slot, done = part.slot, len(part.slot.tokens)
        share = Share(slot, part.n_tokens)
        self._make_room(done + part.n_tokens)
        self._use_adapters_of(slot)
        try:
            self._context.decode_media(part.batch(), is_causal=part.span.is_causal)
        except DecodeFailed as error:
            self._fail([share], error.as_failure())
            return True
        took_ns = time.perf_counter_ns() - started_ns
        self._budget.observe(n_decoding=n_decoding, n_prefill=part.n_tokens, took_ns=took_ns)
        assert slot.job is not None  # noqa: S101  # only slots with a job have media
        slot.tokens += slot.job.prepared.prompt[done : done + part.n_tokens]
        self._tell_prefill(slot)
        if part.ends_prompt:
            self._advance(share, part.n_tokens - 1)
        return True

    def set_threads(self, n_threads: int) -> None:
        """Use so many cores from the next step on."""
        self._n_threads = n_threads
        self._context.set_threads(n_threads)
        if self._model_drafts is not None:
            self._model_drafts.model.set_threads(n_threads)
        self._costs.forget()

    @property
    def num_ctx(self) -> int:
        """Tokens that a slot of the cache holds now."""
        return self._context.num_ctx

    def grow(self, num_ctx: int) -> None:
        """Give every slot `num_ctx` tokens; running jobs keep their cells.

        Raises:
            LoadFailed: there is no memory for it.
        """
        small, self._context = self._context, Context(self._model, self._plan, num_ctx=num_ctx)
        self._context.set_threads(self._n_threads)
        for slot in self._slots:
            if slot.tokens:
                self._context.copy_from(small, slot.index)
        small.close()

    def close(self) -> None:
        """Keep what can be kept and free cache and samplers; the model stays the caller's. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._prefixes.keep_all(self._slots, self._context)
        for slot in self._slots:
            if slot.job is not None:
                slot.job.sampler.close()
                slot.job = None
        if self._model_drafts is not None:
            self._model_drafts.model.close()
        self._context.close()

    def _speculates(self, job: PreparedJob) -> bool:
        return job.most_drafted != 0 and not self._model.keeps_state

    def _make_room(self, n_tokens: int) -> None:
        """Have a cache whose slots hold so many tokens each."""
        if n_tokens > self._context.num_ctx:
            power_of_two = 1 << (n_tokens - 1).bit_length()
            self.grow(min(self._plan.num_ctx, max(_SECOND_NUM_CTX, power_of_two)))

    def _pack(self) -> list[Share]:
        for slot in self._prefixes.catch_up(self._slots, self._context):
            self._tell_prefill(slot)
        slots = self._slots_in_turn()
        n_decoding = sum(slot.is_decoding for slot in slots)
        shares = pack(
            slots,
            capacity=self._batch.capacity,
            prefill_tokens=self._budget.tokens(
                n_decoding=n_decoding, n_prompts=sum(slot.remaining_prompt() > 0 for slot in slots)
            ),
        )
        if any(slot.next_medium() is not None for slot in self._slots):
            return shares
        num_ctx, capacity = self._plan.num_ctx, self._batch.capacity
        shares = with_drafts(shares, costs=self._costs, num_ctx=num_ctx, capacity=capacity)
        if self._model_drafts is None:
            return shares
        return self._model_drafts.added(shares, costs=self._costs, num_ctx=num_ctx, capacity=capacity)

    def _slots_in_turn(self) -> list[Slot]:
        """Give the slots that step together: those with one set of adapters, the sets in turn."""
        has_text = (slot for slot in self._slots if slot.is_decoding or slot.remaining_prompt())
        sets = list(dict.fromkeys(slot.adapters for slot in has_text))
        self._turns += 1
        chosen = sets[self._turns % len(sets)] if sets else ()
        return [slot for slot in self._slots if slot.adapters == chosen]

    def _busy_adapters(self) -> set[str]:
        return {path for slot in self._slots if slot.job is not None for path, _ in slot.adapters}

    def _use_adapters_of(self, slot: Slot) -> None:
        self._context.use_adapters(self._adapters.handles(slot.adapters), [scale for _, scale in slot.adapters])

    def _detach(self) -> None:
        self._context.use_adapters((), ())

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
            self._costs.observe(len(self._batch), took_ns)

    def _tell_prefill(self, slot: Slot) -> None:
        job = slot.job
        if job is not None and job.prepared.tells_prefill and not slot.is_decoding:
            self._outbox.prefill(
                job.ref,
                done_tokens=len(slot.tokens),
                cached_tokens=job.cached_tokens,
                prompt_tokens=len(job.prepared.prompt),
            )

    def _advance(self, share: Share, index: int) -> None:
        try:
            self._draw(share, index)
        except LlamactorError as error:
            self._abandon(share.slot, error.as_failure())

    def _draw(self, share: Share, index: int) -> None:
        """Sample what a share gives: one token, and as many more as its draft foresaw."""
        slot = share.slot
        token, end = self._sample(slot, index)
        n_kept = 0
        while end is None and n_kept < len(share.draft) and share.draft[n_kept] == token:
            slot.tokens.append(token)
            n_kept += 1
            token, end = self._sample(slot, index + n_kept)
        if n_kept < len(share.draft):
            assert slot.job is not None  # noqa: S101  # it ends below
            self._context.cut(slot.index, keep_tokens=slot.job.prepared.position(len(slot.tokens)))
        if share.is_modelled and self._model_drafts is not None:
            self._model_drafts.learn(slot.index, n_drafted=len(share.draft) if end is None else n_kept, n_kept=n_kept)
        slot.next_token = token
        if end is not None:
            self._finish(slot, end)

    def _sample(self, slot: Slot, index: int) -> tuple[int, DoneReason | None]:
        """Draw the next token of a slot and hand over its text; tell whether the job ends with it."""
        job = slot.job
        assert job is not None  # noqa: S101  # it was in the batch
        token = job.sampler.sample(self._context, index)
        self._n_decoded += 1
        if not job.first_token_ns:
            job.first_token_ns = time.perf_counter_ns()
        job.generated.append(token)
        if job.lookup is not None:
            job.lookup.feed(token)
        is_end = self._model.is_end(token)
        shown = "" if is_end else self._shown(job, token)
        if job.logprobs is not None and not is_end:
            job.logprobs.feed(self._context, index, token)
        self._outbox.add(
            job.ref, shown, token, job.logprobs.take() if job.logprobs and shown and not job.stops.is_holding else ()
        )
        if is_end or job.stops.matched is not None or job.sampler.is_complete:
            return token, DoneReason.STOP
        if len(job.generated) >= job.prepared.max_new_tokens:
            return token, DoneReason.LENGTH
        return token, None

    def _finish(self, slot: Slot, reason: DoneReason) -> None:
        job = slot.job
        assert job is not None  # noqa: S101  # the caller just sampled for it
        tail = job.stops.feed(job.text.flush()) + job.stops.flush()
        now_ns = time.perf_counter_ns()
        prepared = job.prepared
        ending = Ending(
            reason=reason,
            prompt_tokens=prepared.n_prompt,
            cached_tokens=job.cached_tokens,
            generated_tokens=len(job.generated),
            prompt_ns=job.first_token_ns - job.admitted_ns,
            generate_ns=now_ns - job.first_token_ns,
            truncated_messages=prepared.truncated_messages,
            truncated_tokens=prepared.truncated_tokens,
            context=(*prepared.shown_prompt, *job.generated) if prepared.return_context else (),
            stop=job.stops.matched or "",
            warnings=remarks(job, reason, self._model),
        )
        told = job.logprobs.take() if job.logprobs and job.stops.matched is None else ()
        self._outbox.end(job.ref, ending, text=tail, logprobs=told)
        self._release(slot, Outcome.FINISHED)

    def _refuse(self, job: PreparedJob, error: LlamactorError) -> bool:
        """End a job that gets no slot; True, for it waits for none."""
        self._outbox.end(job.ref, error.as_failure())
        self._on_end(job.ref, Outcome.FAILED)
        return True

    def _end_unstarted(self, job: PreparedJob) -> None:
        ending = Ending(
            reason=DoneReason.LENGTH,
            prompt_tokens=job.n_prompt,
            cached_tokens=0,
            generated_tokens=job.n_resumed,
            prompt_ns=0,
            generate_ns=0,
            truncated_messages=job.truncated_messages,
            truncated_tokens=job.truncated_tokens,
            context=tuple(job.shown_prompt) if job.return_context else (),
        )
        self._outbox.end(job.ref, ending)
        self._on_end(job.ref, Outcome.FINISHED)

    def _replay(self, job: RunningJob) -> None:
        """Bring a resumed job to where its dead runner was; the text of those tokens was delivered then."""
        for token in job.prepared.resumed:
            job.generated.append(token)
            self._shown(job, token)

    def _shown(self, job: RunningJob, token: int) -> str:
        """Give the text that a token adds to an answer."""
        return job.stops.feed(job.text.feed(job.prepared.marks.get(token) or self._model.piece(token)))

    def _abandon(self, slot: Slot, failure: Failure) -> None:
        """End a job whose next token cannot be chosen; what its cells hold stays known."""
        assert slot.job is not None  # noqa: S101  # a token was due
        self._context.cut(slot.index, keep_tokens=len(slot.tokens))
        self._outbox.end(slot.job.ref, failure)
        self._release(slot, Outcome.FAILED)

    def _fail(self, shares: Sequence[Share], failure: Failure) -> None:
        """End the jobs of a batch whose decode failed: nothing is known of their cells any more."""
        for share in shares:
            job = share.slot.job
            if job is not None:
                self._outbox.end(job.ref, failure)
                self._release(share.slot, Outcome.FAILED)
            self._prefixes.clear(share.slot, self._context)

    def _release(self, slot: Slot, outcome: Outcome) -> None:
        job = slot.job
        assert job is not None  # noqa: S101  # callers free slots that hold one
        job.sampler.close()
        slot.job = slot.next_token = None
        if slot.n_exact < len(slot.tokens):  # a shifted history is not what its tokens would give: keep its front
            self._prefixes.shorten(slot, slot.n_exact, self._context)
            slot.n_exact = sys.maxsize
        self._released += 1
        slot.last_used = self._released
        if not job.prepared.counts_places:
            self._prefixes.clear(slot, self._context)  # whoever took over its cells would count their positions wrongly
        self._on_end(job.ref, outcome)
