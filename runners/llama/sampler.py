"""The sampler of one job: a chain of llama.cpp's own samplers, in llama.cpp's default order.

Logits are never copied to Python: one native call per token walks the chain and accepts the token. A temperature of
0 or less takes the most likely token of what the penalties leave.
"""

from typing import Any

from actors.messages.job import SamplingOptions
from runners.llama.binding import native
from runners.llama.context import Context
from runners.llama.model import Model

_SEED_BITS = 32


class Sampler:
    """A native sampler chain with the state of one sequence; owned by the decode thread."""

    def __init__(self, model: Model, options: SamplingOptions, *, prompt: list[int], num_ctx: int) -> None:
        """Build the chain; penalties take the end of `prompt` into account, a window below 0 means `num_ctx`."""
        self._chain: Any = native.llama_sampler_chain_init(native.llama_sampler_chain_default_params())
        window = options.repeat_last_n if options.repeat_last_n >= 0 else num_ctx
        if _has_penalties(options):
            penalties = native.llama_sampler_init_penalties(
                model.n_vocab, window, options.repeat_penalty, options.frequency_penalty, options.presence_penalty
            )
            native.llama_sampler_chain_add(self._chain, penalties)
            for token in prompt[max(0, len(prompt) - window) :]:
                native.llama_sampler_accept(penalties, token)
        for part in _choosers(options):
            native.llama_sampler_chain_add(self._chain, part)

    def sample(self, context: Context, index: int) -> int:
        """Draw the next token from the logits of batch position `index`, and accept it."""
        return int(native.llama_sampler_sample(self._chain, context.handle, index))

    def close(self) -> None:
        """Free the chain."""
        if self._chain:
            native.llama_sampler_free(self._chain)
            self._chain = None


def _has_penalties(options: SamplingOptions) -> bool:
    return options.repeat_last_n != 0 and (
        options.repeat_penalty != 1.0 or options.presence_penalty != 0.0 or options.frequency_penalty != 0.0
    )


def _choosers(options: SamplingOptions) -> list[Any]:
    if options.temperature <= 0:
        return [native.llama_sampler_init_greedy()]
    parts: list[Any] = []
    if options.top_k > 0:
        parts.append(native.llama_sampler_init_top_k(options.top_k))
    if options.typical_p < 1.0:
        parts.append(native.llama_sampler_init_typical(options.typical_p, 1))
    if options.top_p < 1.0:
        parts.append(native.llama_sampler_init_top_p(options.top_p, 1))
    if options.min_p > 0.0:
        parts.append(native.llama_sampler_init_min_p(options.min_p, 1))
    parts.append(native.llama_sampler_init_temp(options.temperature))
    parts.append(native.llama_sampler_init_dist(options.seed % 2**_SEED_BITS))
    return parts
