"""What of a new prompt is in the cache already, wherever that is: in the job's slot, in another, or in the KV tier.

Another slot's cells are taken by state transfer: 600 tokens of SmolLM2 in 5 ms, against 1.9 s to evaluate them.
llama.cpp's own copy between sequences is put off to the next decode and copies the whole stream, however little of it
is in use.

A prompt whose beginning another job is just evaluating waits for it: eight requests with one new long prefix cost one.

What a slot loses to a new conversation goes to the tier first; in idle time, so that the new one need not wait for it.
"""

from collections.abc import Sequence

from actors.errors import DecodeFailed
from actors.log import get_logger
from runners.histories import Histories
from runners.jobs import PreparedJob, RunningJob
from runners.llama.adapters import AdapterSet
from runners.llama.cells import convert
from runners.llama.context import Context
from runners.llama.layout import Layout
from runners.llama.model import Model
from runners.radix import common_prefix
from runners.slots import Slot
from runners.tier import LEAST_TOKENS, Kept, Reading, Tier

log = get_logger(__name__)

LEAST_GAIN_TOKENS = 32
"""Prefill that cells from the tier must spare, beyond what slots have, to be worth their while."""
LEAST_COPY_TOKENS = 8
"""The same for cells of another slot, which are copied in the time of one or two tokens; also for those yet to come."""
_MOST_BYTES_AHEAD = 64 << 20
"""A larger sequence is kept when its slot is needed, lest a request that comes just then wait for its copy."""


class Prefixes:
    """Gives slots the longest beginning of their prompt that is to be had; owned by the decode thread."""

    def __init__(self, model: Model, tier: Tier, histories: Histories) -> None:
        self._model = model
        self._histories = histories
        self._tier = tier

    def begin(self, slot: Slot, job: PreparedJob, slots: Sequence[Slot], context: Context) -> int:
        """Leave in a free slot only cells that begin `job`'s prompt, as many as can be found.

        Returns:
            How many tokens need no prefill; at most all but the last, whose logits give the first answer token. Not
            known yet when the slot has a `reading` then, and called again when that is done.
        """
        own = self._shared(slot.tokens, job)
        donor, n_donor = self._best_donor(slot, job, slots)
        found = self._tier.find(job.prompt, slot.adapters)
        kept, n_kept = (found[0], self._usable(found[0].tokens, found[1], job)) if found else (None, 0)
        if kept is None or n_kept < max(own, n_donor) + LEAST_GAIN_TOKENS:
            self._spill(slot, keep=own, context=context)
            if donor is None or n_donor < own + LEAST_COPY_TOKENS:
                return self.shorten(slot, own, context)
            return self._take(slot, donor.tokens, n_donor, context.state(donor.index), context.layout, context)
        cells = self._tier.cells(kept, slot.reading)
        if isinstance(cells, Reading):
            slot.reading = cells
            return 0
        if cells is None:
            return self.begin(slot, job, slots, context)
        self._spill(slot, keep=own, context=context)
        n_taken = self._take(slot, kept.tokens, n_kept, cells, kept.layout, context)
        if not n_taken:
            self._tier.forget(kept)
        return n_taken

    def take_over(self, slot: Slot, adapters: AdapterSet, context: Context) -> None:
        """Give a free slot to jobs with this set of adapters; cells that another set made are saved and dropped."""
        if slot.adapters != adapters:
            self._spill(slot, keep=0, context=context)
            self.clear(slot, context)
            slot.adapters = adapters

    def leader_of(
        self, job: PreparedJob, slots: Sequence[Slot], *, adapters: AdapterSet, n_cached: int
    ) -> tuple[RunningJob, int] | None:
        """Find a job that is just evaluating what this one needs as well; say how many tokens they share."""
        best: tuple[RunningJob, int] | None = None
        for slot in slots:
            other = slot.job
            if other is None or other.prepared is job or slot.is_decoding or slot.is_waiting:
                continue
            if not other.prepared.counts_places:
                continue
            if slot.adapters != adapters:
                continue
            n_shared = self._usable(other.prepared.prompt, common_prefix(job.prompt, other.prepared.prompt), job)
            if n_shared >= n_cached + LEAST_COPY_TOKENS and (best is None or n_shared > best[1]):
                best = other, n_shared
        return best

    def catch_up(self, slots: Sequence[Slot], context: Context) -> list[Slot]:
        """Let the followers go on whose leader has come far enough, or will not; return them."""
        freed = []
        for slot in slots:
            job = slot.job
            if job is None or not slot.is_waiting:
                continue
            if slot.reading is not None:
                if slot.reading.is_done:
                    self._go_on(slot, job, slots, context)
                    freed.append(slot)
                continue
            ahead = next((other for other in slots if other.job is job.leader), None)
            if ahead is None or ahead.is_decoding or len(ahead.tokens) >= job.leader_tokens:
                job.leader = None
                job.cached_tokens = self.begin(slot, job.prepared, slots, context)
                freed.append(slot)
        return freed

    def _go_on(self, slot: Slot, job: RunningJob, slots: Sequence[Slot], context: Context) -> None:
        """Take what has come from the disk; what the prompt has beyond that may just be evaluated by another."""
        job.cached_tokens = self.begin(slot, job.prepared, slots, context)
        if slot.reading is not None and slot.reading.is_done:
            slot.reading = None
        if slot.reading is None:
            led = self.leader_of(job.prepared, slots, adapters=slot.adapters, n_cached=job.cached_tokens)
            job.leader, job.leader_tokens = led or (None, 0)

    def keep_ahead(self, slot: Slot, context: Context) -> None:
        """Offer a sequence that has ended to the tier before another needs its slot."""
        slot.n_kept = len(slot.tokens)
        if context.state_bytes(slot.index) <= _MOST_BYTES_AHEAD:
            self._spill(slot, keep=0, context=context)

    def keep_all(self, slots: Sequence[Slot], context: Context) -> None:
        """Put what the slots hold into the tier, the latest used last, and have it written: the runner ends."""
        for slot in sorted(slots, key=lambda one: one.last_used):
            self._spill(slot, keep=0, context=context)
        self._tier.close()

    def clear(self, slot: Slot, context: Context) -> None:
        """Drop all cells of a slot."""
        context.cut(slot.index, keep_tokens=0)
        slot.cut(0)

    def _best_donor(self, slot: Slot, job: PreparedJob, slots: Sequence[Slot]) -> tuple[Slot | None, int]:
        best: tuple[Slot | None, int] = (None, 0)
        shared = self._histories.shared(job.prompt)
        for other in slots:
            if other is slot or other.adapters != slot.adapters:
                continue
            if other.job is not None and not other.job.prepared.counts_places:
                continue
            n_shared = min(self._usable(other.tokens, shared.get(other.index, 0), job), other.n_exact)
            if n_shared > best[1]:
                best = other, n_shared
        donor = best[0]  # the tree proposes, the tokens decide
        return donor, 0 if donor is None else min(self._shared(donor.tokens, job), donor.n_exact)

    def _shared(self, tokens: Sequence[int], job: PreparedJob) -> int:
        return self._usable(tokens, common_prefix(job.prompt, tokens), job)

    def _usable(self, tokens: Sequence[int], n_shared: int, job: PreparedJob) -> int:
        """Shorten a shared prefix to what can be used of it."""
        n_shared = job.whole_media(min(n_shared, len(job.prompt) - 1))
        # A recurrent state is that after the last token, and there is no way back.
        return 0 if self._model.keeps_state and n_shared < len(tokens) else n_shared

    def _take(  # noqa: PLR0917  # what is taken, and from where
        self, slot: Slot, tokens: Sequence[int], n_shared: int, cells: bytes, layout: Layout, context: Context
    ) -> int:
        """Give an empty slot the cells of a sequence, and cut them to the shared prefix; 0 if they do not fit."""
        self.clear(slot, context)
        tokens = list(tokens)
        if layout != context.layout or len(tokens) > context.num_ctx:
            if not self._model.has_plain_cells:
                return 0
            target = context.layout
            try:
                cells = convert(
                    cells, value_type=target.value_type, transposed=target.transposes_values, n_positions=n_shared
                )
            except DecodeFailed as error:  # kept when the cache had a type that has no other layout
                log.info("a kept sequence does not fit this cache: %s", error)
                return 0
            tokens = tokens[:n_shared]
        if not context.restore(slot.index, cells):
            return 0
        slot.tokens += tokens
        return self.shorten(slot, n_shared, context)

    def shorten(self, slot: Slot, n_tokens: int, context: Context) -> int:
        """Shorten a slot's sequence; where the memory cannot be cut there it is cleared, and 0 is returned."""
        if n_tokens < len(slot.tokens):
            if not context.cut(slot.index, keep_tokens=n_tokens) or not self._is_whole(slot, n_tokens, context):
                self.clear(slot, context)
                return 0
            slot.cut(n_tokens)
        return n_tokens

    def _is_whole(self, slot: Slot, n_tokens: int, context: Context) -> bool:
        """Tell whether all cells are there that the token behind the first `n_tokens` sees; a window may have left."""
        first_needed = max(0, n_tokens - self._model.n_swa) if self._model.n_swa else 0
        return not n_tokens or 0 <= context.first_position(slot.index) <= first_needed

    def _spill(self, slot: Slot, *, keep: int, context: Context) -> None:
        """Save a slot's sequence to the tier if it loses enough by being cut to `keep` tokens."""
        tokens = slot.tokens
        if len(tokens) > slot.n_exact:
            return  # a context that shifted is not what its tokens would give
        if len(tokens) - keep < LEAST_TOKENS or not self._tier.wants(tokens, slot.adapters) or min(tokens) < 0:
            return  # a negative one stands for a medium, which has no name beyond this runner
        cells = context.state(slot.index)
        plain = self._model.has_plain_cells
        self._tier.keep(Kept(tuple(tokens), slot.adapters, context.layout, cells, has_plain_cells=plain))
