"""The sampler of a draft model: the most likely token, whatever the job's own sampler does."""

from typing import Any

from runners.llama.binding import native
from runners.llama.context import Context


class Greedy:
    """Owned by the decode thread; it has no state, so all sequences share it."""

    def __init__(self) -> None:
        self._chain: Any = native.llama_sampler_init_greedy()

    def sample(self, context: Context, index: int) -> int:
        """Give the most likely token at batch position `index`."""
        return int(native.llama_sampler_sample(self._chain, context.handle, index))

    def close(self) -> None:
        """Free it."""
        if self._chain:
            native.llama_sampler_free(self._chain)
            self._chain = None
