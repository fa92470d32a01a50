"""The slots of a runner: which tokens each one's cache holds, which job uses it, and which slot a new job gets.

Choosing a slot weighs two measured facts. Reusing a prefix saves its prefill. llama.cpp decodes only *consecutive*
slots of a split cache in one pass (eight slots: 0-3 gave 120 tokens/s, 0,2,4,6 gave 78), so a job without a prefix
worth keeping goes beside the running ones, into the least recently used of the slots that qualify.
"""

import dataclasses
from collections.abc import Sequence

from runners.jobs import RunningJob

WORTH_REUSING_TOKENS = 32
"""A shared prefix below this costs less to prefill again than a hole between running slots costs."""


@dataclasses.dataclass(slots=True, eq=False)
class Slot:
    """One sequence of the KV cache; owned by the decode thread.

    Invariant: `tokens` are exactly the tokens whose cells the cache holds for this sequence, in order.
    """

    index: int
    tokens: list[int] = dataclasses.field(default_factory=list)
    job: RunningJob | None = None
    next_token: int | None = None
    """Sampled and not yet decoded; None while the job's prompt is being prefilled."""
    last_used: int = 0
    """Rank of the last release; higher is more recent."""

    @property
    def is_decoding(self) -> bool:
        """True iff the slot's next step is one sampled token."""
        return self.next_token is not None

    def remaining_prompt(self) -> int:
        """Count the prompt tokens that are not in the cache yet."""
        return 0 if self.job is None or self.is_decoding else len(self.job.prepared.prompt) - len(self.tokens)


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Count the leading tokens that two sequences share."""
    limit = min(len(left), len(right))
    if left[:limit] == right[:limit]:
        return limit
    low, high = 0, limit  # invariant: the first `low` agree, the first `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


def slot_for(prompt: Sequence[int], slots: Sequence[Slot]) -> Slot | None:
    """Choose the slot for a new job, None when all are taken."""
    free = [slot for slot in slots if slot.job is None]
    if not free:
        return None
    warmest = max(free, key=lambda slot: (common_prefix(prompt, slot.tokens), slot.last_used))
    if common_prefix(prompt, warmest.tokens) >= WORTH_REUSING_TOKENS:
        return warmest
    taken = {slot.index for slot in slots if slot.job is not None}
    beside = [slot for slot in free if slot.index - 1 in taken or slot.index + 1 in taken]
    return min(beside or free, key=lambda slot: (slot.last_used, slot.index))
