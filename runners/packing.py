"""What goes into the next step: one token for each decoding slot, then prompt chunks under a budget.

`PrefillBudget` keeps running streams smooth: while something decodes, the prompt tokens of a step are sized by what
steps were measured to take, so that a step with prefill takes at most `SLOWEST_STEP` times a quiet one; more where
more prompts wait than streams run, so that a crowd is not kept waiting for one's smoothness. With nothing
decoding, only the time in which cancels and new jobs must be seen bounds a step.
"""

import dataclasses
from collections.abc import Sequence

from runners.slots import Slot

SLOWEST_STEP = 2.5
_LONGEST_STEP_NS = 500_000_000
"""Also with nothing decoding a step ends after about this, so that cancels and new jobs are seen."""
_SMALLEST_TOKENS = 4
_FIRST_TOKENS = 16
"""While nothing was measured yet."""
_LEAST_ALONE_TOKENS = 64
_WEIGHT = 0.2  # of a new sample in a moving average


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
    """How many prompt tokens a step may carry; knows by measurement what a quiet step and a prompt token take."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._alone = capacity
        self._quiet_ns: dict[int, float] = {}  # by the number of streams
        self._token_ns = 0.0

    def tokens(self, *, n_decoding: int, n_prompts: int = 1) -> int:
        """Give the budget of the next step.

        Args:
            n_decoding: streams that wait for their next token; with none only the step's own length bounds it.
            n_prompts: prompts that wait for their first; where they are more than the streams, they weigh more.
        """
        if not n_decoding:
            return self._alone
        if not self._quiet_ns or not self._token_ns:
            return min(_FIRST_TOKENS, self._capacity)
        allowed = SLOWEST_STEP * max(1.0, n_prompts / n_decoding) - 1
        fitting = int(allowed * self._quiet(n_decoding) / self._token_ns)
        return min(max(_SMALLEST_TOKENS, fitting), self._capacity)

    def observe(self, *, n_decoding: int, n_prefill: int, took_ns: int) -> None:
        """Learn from a finished step."""
        if not n_prefill:
            known = self._quiet_ns.get(n_decoding)
            self._quiet_ns[n_decoding] = took_ns if known is None else known + _WEIGHT * (took_ns - known)
            return
        if not n_decoding:
            fitting = n_prefill * _LONGEST_STEP_NS // max(1, took_ns)
            self._alone = max(min(_LEAST_ALONE_TOKENS, self._capacity), min(fitting, self._capacity))
        elif not self._quiet_ns:
            return
        token_ns = max(0.0, took_ns - (self._quiet(n_decoding) if n_decoding else 0)) / n_prefill
        self._token_ns += (_WEIGHT if self._token_ns else 1.0) * (token_ns - self._token_ns)

    def _quiet(self, n_decoding: int) -> float:
        """Give what a step of so many streams takes, from the nearest number that was measured."""
        return self._quiet_ns[min(self._quiet_ns, key=lambda known: abs(known - n_decoding))]
