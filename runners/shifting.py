"""Context shift: an answer that fills its context goes on at the cost of what is oldest in it.

The first `n_keep` tokens stay, half of the others go, and the rest moves up: their cells get new positions, nothing is
evaluated again. As in llama.cpp's server, to the token. What follows was computed with the lost tokens in view, so that
such a history is not what its tokens alone would give: it may be gone on with, but not shared or kept.

Not every memory can do this; `Context.can_shift` tells.
"""

import dataclasses

from actors.errors import DecodeFailed
from runners.llama.context import Context
from runners.slots import Slot

_LEAST_MOVED = 4  # tokens that a shift leaves movable, however much shall be kept; llama.cpp's number


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """What a shift takes out of a sequence of `n_tokens`: `n_lost` tokens from position `start` on."""

    start: int
    n_lost: int


def lost(n_tokens: int, *, num_ctx: int, n_keep: int) -> Lost:
    """Choose what goes, so that at least one token of the rest stays."""
    start = max(0, min(num_ctx - _LEAST_MOVED, n_keep, n_tokens))
    n_movable = n_tokens - start
    return Lost(start, max(0, min(n_movable // 2, n_movable - 1)))


def shift_if_full(slot: Slot, context: Context) -> None:
    """Make room in a slot whose next token would be the last that its context holds.

    The sequence must be part of the very next decode, which does the moving: until then its state is in between.

    Raises:
        DecodeFailed: the memory cannot be cut there after all.
    """
    job = slot.job
    shift = None if job is None else job.prepared.shift
    if job is None or shift is None or not slot.is_decoding or len(slot.tokens) + 1 < shift.num_ctx:
        return
    gone = lost(len(slot.tokens), num_ctx=shift.num_ctx, n_keep=shift.n_keep)
    if not context.drop(slot.index, start=gone.start, n_tokens=gone.n_lost):
        raise DecodeFailed("this model's memory cannot be shifted: raise num_ctx, or send shift: false")
    slot.drop(gone.start, gone.start + gone.n_lost)
    slot.n_exact = min(slot.n_exact, gone.start)
    job.shifted_tokens += gone.n_lost
