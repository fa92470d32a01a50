"""What goes into the next step: one token for each decoding slot, then prompt chunks under a budget.

`PrefillBudget` keeps running streams smooth: while something decodes, the prompt tokens of a step are sized by what
steps were measured to take, so that a step with prefill takes at most `SLOWEST_STEP` times a quiet one. With nothing
decoding, only the time in which cancels and new jobs must be seen bounds a step.
"""

import dataclasses
from collections.abc import Sequence

from runners.slots import Slot

SLOWEST_STEP = 2.5
_LONGEST_STEP_NS = 500_000_000
"""Also with nothing decoding a step ends after about this, so that cancels and new jobs are seen."""
_SMALLEST_TOKENS = 16
_FIRST_TOKENS = 64
_GROWTH, _SHRINK = 1.25, 0.7
_QUIET_WEIGHT = 0.1  # of a new sample in the moving average of quiet steps


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """Part of a step: `n_tokens` of one slot."""

    slot: Slot
    n_tokens: int
    draft: tuple[int, ...] = ()
    """Guesses at what follows the slot's next token, counted in `n_tokens`."""
    is_modelled: bool = False
    """Whether a draft model guessed them."""


def pack(slots: Sequence[Slot], *, capacity: int, prefill_tokens: int) -> list[Share]:
    """Fill a step in ascending slot order.

    Args:
        slots: all slots, ascending by index.
        capacity: tokens that the native batch holds.
        prefill_tokens: budget for prompt tokens together, at least 1.

    Returns:
        At most one share per slot, ascending by index. Every decoding slot has one.
    """
    shares = {slot.index: Share(slot, 1) for slot in slots if slot.is_decoding}
    # Max-min fairness: the shortest rest first, each at most an equal share of what is left, so that prompts advance
    # side by side and no budget is wasted.
    prompts = sorted((slot for slot in slots if slot.remaining_prompt()), key=Slot.remaining_prompt)
    room = min(capacity - len(shares), prefill_tokens)
    for k, slot in enumerate(prompts):
        count = min(slot.remaining_prompt(), -(-room // (len(prompts) - k)))
        if count > 0:
            shares[slot.index] = Share(slot, count)
            room -= count
    return [shares[index] for index in sorted(shares)]


class PrefillBudget:
    """How many prompt tokens a step may carry; adapts by measurement."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._beside = float(min(_FIRST_TOKENS, capacity))
        self._alone = capacity
        self._quiet_ns = 0.0

    def tokens(self, *, n_decoding: int) -> int:
        """Give the budget of the next step; with nothing decoding only the step's own length bounds it."""
        return int(self._beside) if n_decoding else self._alone

    def observe(self, *, n_decoding: int, n_prefill: int, took_ns: int) -> None:
        """Learn from a finished step."""
        if not n_decoding:
            fitting = n_prefill * _LONGEST_STEP_NS // max(1, took_ns)
            self._alone = max(min(_FIRST_TOKENS, self._capacity), min(fitting, self._capacity))
        elif not n_prefill:
            weight = _QUIET_WEIGHT if self._quiet_ns else 1.0
            self._quiet_ns += weight * (took_ns - self._quiet_ns)
        elif self._quiet_ns and took_ns > SLOWEST_STEP * self._quiet_ns:
            self._beside = max(_SMALLEST_TOKENS, self._beside * _SHRINK)
        elif n_prefill >= int(self._beside):
            self._beside = min(self._capacity, self._beside * _GROWTH)
