"""The slots of a runner: which tokens each one's cache holds, which job uses it, and which slot a new job gets.

Choosing a slot weighs three things, all in prompt tokens. A shared prefix spares its prefill. What the slot remembers
beyond that is lost, and may be wanted again. And llama.cpp decodes only *consecutive* slots of a split cache in one
pass (measured: slots 0-3 gave 120 tokens/s, 0,2,4,6 gave 78), so a hole between running slots costs every step.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence

from runners.jobs import RunningJob
from runners.llama.adapters import NO_ADAPTERS, AdapterSet
from runners.media import MediaSpan, span_at
from runners.tier import Reading

HOLE_COST_TOKENS = 32
"""Prefill of so many tokens takes about as long as a hole between running slots costs an answer of usual length."""
REVISIT_CHANCE = 0.1
"""How likely a remembered token is wanted again before it would have been overwritten anyway."""


@dataclasses.dataclass(slots=True, eq=False)
class Slot:
    """One sequence of the KV cache; owned by the decode thread.

    Invariant: `tokens` are exactly the tokens whose cells the cache holds for this sequence, in order.
    """

    index: int
    tokens: list[int] = dataclasses.field(default_factory=list)
    adapters: AdapterSet = NO_ADAPTERS
    """What the cells were computed with; a job with another set shares nothing with them."""
    job: RunningJob | None = None
    reading: Reading | None = None
    """Cells from the disk that the job waits for; until they are here, `tokens` are still those of another."""
    next_token: int | None = None
    """Sampled and not yet decoded; None while the job's prompt is being prefilled."""
    n_same: int = 0
    """Tokens at the front that have stayed as they were when `Histories` last looked."""
    n_kept: int = 0
    """Tokens at the front that the KV tier was offered since they came."""
    last_used: int = 0
    """Rank of the last release; higher is more recent."""
    n_exact: int = sys.maxsize
    """Tokens at the front whose cells depend on them alone; those behind were computed before a context shift."""

    @property
    def is_decoding(self) -> bool:
        """True iff the slot's next step is one sampled token."""
        return self.next_token is not None

    @property
    def is_waiting(self) -> bool:
        """True iff the beginning of the job's prompt is still to come from another slot or from the disk."""
        return self.reading is not None or (self.job is not None and self.job.leader is not None)

    @property
    def is_to_be_kept(self) -> bool:
        """True iff its sequence has ended and the KV tier was not offered all of it."""
        return self.job is None and self.n_kept < len(self.tokens)

    def cut(self, n_tokens: int) -> None:
        """Forget all tokens but the first `n_tokens`."""
        self.drop(n_tokens, len(self.tokens))

    def drop(self, start: int, end: int) -> None:
        """Forget the tokens from `start` to `end`; others move up."""
        del self.tokens[start:end]
        self.n_same = min(self.n_same, start)
        self.n_kept = min(self.n_kept, start)

    def remaining_prompt(self) -> int:
        """Count the prompt tokens that are to go into the cache next: up to a medium, or to the end."""
        if self.job is None or self.is_decoding or self.is_waiting:
            return 0
        return self.job.prepared.text_end(len(self.tokens)) - len(self.tokens)

    def next_medium(self) -> MediaSpan | None:
        """Give the medium that is to go into the cache next, or on; None when text is next."""
        if self.job is None or self.is_decoding or self.is_waiting or not self.job.prepared.spans:
            return None
        return span_at(self.job.prepared.spans, len(self.tokens))


def slot_for(
    shared_tokens: Mapping[int, int], slots: Sequence[Slot], *, adapters: AdapterSet = NO_ADAPTERS
) -> Slot | None:
    """Choose the slot for a new job, None when all are taken; among equals the least recently used.

    `shared_tokens` tells by index how much of each slot's history begins the job's prompt (`Histories`).
    """
    taken = {slot.index for slot in slots if slot.job is not None}

    def worth(slot: Slot) -> float:
        shared = shared_tokens.get(slot.index, 0) if slot.adapters == adapters else 0
        lost = (len(slot.tokens) - shared) * REVISIT_CHANCE
        makes_hole = bool(taken) and not {slot.index - 1, slot.index + 1} & taken
        return shared - lost - HOLE_COST_TOKENS * makes_hole

    free = (slot for slot in slots if slot.job is None)
    return max(free, key=lambda slot: (worth(slot), -slot.last_used, -slot.index), default=None)
