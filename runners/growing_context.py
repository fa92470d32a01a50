"""The cache that grows: it starts small and takes more when conversations need it, by powers of two up to the plan.

llama.cpp zeroes a cache at once, which takes longer than to load a small model (755 MB: 0.31 s, of 0.45 s to the first
token), and a short cache has a quicker layout (runners/llama/layout.py). So it begins with one slot of few tokens, and
grows in both when a job needs another slot or a sequence more cells. What a device has free now may be taken later, so
there the cache has its planned size from the start; and a state that is more than cells, or none, its number of slots.
"""

from collections.abc import Sequence

from actors.errors import DecodeFailed
from actors.messages.model import LoadPlan
from runners.llama.context import Context
from runners.llama.layout import SHORT_CTX
from runners.llama.model import Model
from runners.slots import Slot

FIRST_NUM_CTX = SHORT_CTX
"""Tokens per slot until the cache grows: a question and its answer."""
FIRST_N_SLOTS = 1
"""Slots until a second conversation comes."""
_SECOND_NUM_CTX = 2048
_MOST_EXPECTED_TOKENS = 4096
"""A larger cache is not made for a conversation that may not come."""
_SECOND_N_SLOTS = 4


class GrowingContext:
    """Owns the context, which another replaces when it grows; for the decode thread."""

    def __init__(self, model: Model, plan: LoadPlan, *, n_tokens: int = 0) -> None:
        """Allocate the cache at its first size, or where a conversation of `n_tokens` is likely to come, at its size.

        Raises:
            LoadFailed: there is no memory for it.
        """
        self._model = model
        self._plan = plan
        self._n_threads = plan.n_threads
        is_whole = plan.n_gpu_layers > 0
        first_num_ctx = FIRST_NUM_CTX if n_tokens > _MOST_EXPECTED_TOKENS else _grown(FIRST_NUM_CTX, n_tokens)
        self.now = Context(
            model,
            plan,
            num_ctx=plan.num_ctx if is_whole else first_num_ctx,
            n_slots=FIRST_N_SLOTS if model.has_plain_cells and not is_whole else plan.n_slots,
        )
        """The context to use until the next call that makes room."""

    def make_room(self, slots: Sequence[Slot], *, n_tokens: int, n_slots: int = 1) -> None:
        """Have a cache of so many slots that hold so many tokens each.

        Raises:
            LoadFailed, DecodeFailed: as `grow`.
        """
        num_ctx, enough = _grown(self.now.num_ctx, n_tokens), self.now.n_slots
        if n_slots > enough:
            enough = max(_SECOND_N_SLOTS, _power_of_two(n_slots))
        if (num_ctx, enough) != (self.now.num_ctx, self.now.n_slots):
            self.grow(slots, num_ctx=num_ctx, n_slots=enough)

    def grow(self, slots: Sequence[Slot], *, num_ctx: int, n_slots: int) -> None:
        """Have a cache of `n_slots` slots with `num_ctx` tokens each, or the plan's if that is less; sequences stay.

        Raises:
            LoadFailed: there is no memory for it.
            DecodeFailed: a sequence could not be moved; all stay where they are.
        """
        large = Context(self._model, self._plan, num_ctx=num_ctx, n_slots=n_slots)
        try:
            for slot in slots:
                if slot.tokens:
                    large.copy_from(self.now, slot.index)
        except DecodeFailed:
            large.close()
            raise
        self.now.close()
        self.now = large
        self.now.set_threads(self._n_threads)

    def set_threads(self, n_threads: int) -> None:
        """Use so many cores from the next decode on."""
        self._n_threads = n_threads
        self.now.set_threads(n_threads)

    def close(self) -> None:
        """Free the cache."""
        self.now.close()


def _grown(num_ctx: int, n_tokens: int) -> int:
    """Give the tokens of a slot when one that has `num_ctx` shall hold `n_tokens`."""
    return num_ctx if n_tokens <= num_ctx else max(_SECOND_NUM_CTX, _power_of_two(n_tokens))


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
