"""The cache that grows: it starts small and takes more when a sequence needs it, by powers of two up to the plan.

llama.cpp zeroes a cache at once, which takes longer than to load a small model (755 MB: 0.31 s, of 0.45 s to the first
token), and a short cache has a quicker layout (runners/llama/layout.py). What a device has free now may be taken later,
so there the cache has its planned size from the start.
"""

from collections.abc import Sequence

from actors.messages.model import LoadPlan
from runners.llama.context import Context
from runners.llama.layout import SHORT_CTX
from runners.llama.model import Model
from runners.slots import Slot

FIRST_NUM_CTX = SHORT_CTX
"""Tokens per slot until the cache grows: a question and its answer."""
_SECOND_NUM_CTX = 2048


class GrowingContext:
    """Owns the context, which another replaces when it grows; for the decode thread."""

    def __init__(self, model: Model, plan: LoadPlan) -> None:
        """Allocate the cache at its first size.

        Raises:
            LoadFailed: there is no memory for it.
        """
        self._model = model
        self._plan = plan
        self._n_threads = plan.n_threads
        self.now = Context(model, plan, num_ctx=plan.num_ctx if plan.n_gpu_layers else FIRST_NUM_CTX)
        """The context to use until the next call that makes room."""

    def make_room(self, n_tokens: int, slots: Sequence[Slot]) -> None:
        """Have a cache whose slots hold so many tokens each.

        Raises:
            LoadFailed: there is no memory for it.
        """
        if n_tokens > self.now.num_ctx:
            power_of_two = 1 << (n_tokens - 1).bit_length()
            self.grow(min(self._plan.num_ctx, max(_SECOND_NUM_CTX, power_of_two)), slots)

    def grow(self, num_ctx: int, slots: Sequence[Slot]) -> None:
        """Give every slot `num_ctx` tokens; their sequences keep their cells.

        Raises:
            LoadFailed: there is no memory for it.
        """
        small, self.now = self.now, Context(self._model, self._plan, num_ctx=num_ctx)  # unchanged if that fails
        self.now.set_threads(self._n_threads)
        for slot in slots:
            if slot.tokens:
                self.now.copy_from(small, slot.index)
        small.close()

    def set_threads(self, n_threads: int) -> None:
        """Use so many cores from the next decode on."""
        self._n_threads = n_threads
        self.now.set_threads(n_threads)

    def close(self) -> None:
        """Free the cache."""
        self.now.close()
