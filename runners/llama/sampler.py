"""The sampler of one job: a chain of llama.cpp's own samplers, in llama.cpp's default order.

Logits are not copied to Python: one native call per token walks the chain and accepts the token. Where that is only to
take the most likely one, they are looked at in place: llama.cpp fills a list of all candidates first. A caller that
must look at a token before it counts, as a grammar does, uses `draw` and `accept` instead.

Order: biases, penalties, DRY, top-n-sigma, top-k, typical-p, top-p, min-p, XTC, temperature, draw; with mirostat only
biases, temperature, mirostat. A temperature of 0 or less takes the most likely token of what is left.
"""

import ctypes
import math
from collections.abc import Sequence
from typing import Any

from actors.messages.job import SamplingOptions
from runners.llama.binding import native
from runners.llama.candidates import Candidates
from runners.llama.context import Context
from runners.llama.model import Model

_SEED_MASK = 2**32 - 1
_MIROSTAT_CANDIDATES = 100  # as llama.cpp's own tools set it


class Sampler:
    """A native sampler chain with the state of one sequence; owned by the decode thread."""

    is_complete = False
    """A chain alone never knows that an answer is over."""

    def __init__(self, model: Model, options: SamplingOptions, *, prompt: Sequence[int], num_ctx: int) -> None:
        """Build the chain; penalties and DRY take the end of `prompt` into account, a window below 0 is `num_ctx`."""
        self._chain: Any = native.llama_sampler_chain_init(native.llama_sampler_chain_default_params())
        parts = _parts(model, options, num_ctx)
        self.takes_best = len(parts) == 1 and _is_greedy(options)
        """Whether the most likely token is the next one, whatever came before."""
        for part, window in parts:
            native.llama_sampler_chain_add(self._chain, part)
            for token in prompt[max(0, len(prompt) - window) :]:
                native.llama_sampler_accept(part, token)

    def sample(self, context: Context, index: int) -> int:
        """Draw the next token from the logits of batch position `index`, and accept it."""
        if self.takes_best:
            return context.best(index)
        return int(native.llama_sampler_sample(self._chain, context.handle, index))

    def draw(self, candidates: Candidates) -> int:
        """Draw a token of these, which are reordered, and change nothing but the state of the random numbers."""
        native.llama_sampler_apply(self._chain, candidates.reference)
        return candidates.selected()

    def accept(self, token: int) -> None:
        """Let the samplers that look back know of a token."""
        native.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        """Free the chain."""
        if self._chain:
            native.llama_sampler_free(self._chain)
            self._chain = None


Part = tuple[Any, int]
"""A native sampler, and how many tokens of the prompt it must know."""


def _parts(model: Model, options: SamplingOptions, num_ctx: int) -> list[Part]:
    biases = _biases(model, options)
    if options.temperature > 0 and options.mirostat:
        return [*biases, *((part, 0) for part in _mirostat(model, options))]
    history = [*biases, *_looking_back(model, options, num_ctx)]
    if _is_greedy(options):
        # None of the other truncations can lose the most likely token.
        return [*history, (native.llama_sampler_init_greedy(), 0)]
    return [*history, *((part, 0) for part in [*_truncating(options), *_choosing(options)])]


def _is_greedy(options: SamplingOptions) -> bool:
    return options.temperature <= 0 and options.typical_p >= 1.0 and options.xtc_probability <= 0


def _biases(model: Model, options: SamplingOptions) -> list[Part]:
    biases = [*options.logit_bias, *((token, -math.inf) for token in model.suppressed)]
    if options.ignore_eos:
        biases += [(token, -math.inf) for token in model.ends]
    if not biases:
        return []
    array = (native.llama_logit_bias * len(biases))(*(native.llama_logit_bias(*bias) for bias in biases))
    return [(native.llama_sampler_init_logit_bias(model.n_vocab, len(biases), array), 0)]


def _looking_back(model: Model, options: SamplingOptions, num_ctx: int) -> list[Part]:
    parts: list[Part] = []
    window = options.repeat_last_n if options.repeat_last_n >= 0 else num_ctx
    penalties = (options.repeat_penalty, options.frequency_penalty, options.presence_penalty)
    if window and penalties != (1.0, 0.0, 0.0):
        parts.append((native.llama_sampler_init_penalties(model.n_vocab, window, *penalties), window))
    window = options.dry_penalty_last_n if options.dry_penalty_last_n >= 0 else num_ctx
    if window and options.dry_multiplier:
        breakers = [text.encode() for text in options.dry_sequence_breakers]
        dry = native.llama_sampler_init_dry(
            model.vocab,
            options.dry_multiplier,
            options.dry_base,
            options.dry_allowed_length,
            window,
            (ctypes.c_char_p * len(breakers))(*breakers),
            len(breakers),
        )
        parts.append((dry, window))
    return parts


def _truncating(options: SamplingOptions) -> list[Any]:
    keep = options.min_keep
    return [
        native.llama_sampler_init_top_n_sigma(options.top_n_sigma),
        native.llama_sampler_init_top_k(options.top_k),
        native.llama_sampler_init_typical(options.typical_p, keep),
        native.llama_sampler_init_top_p(options.top_p, keep),
        native.llama_sampler_init_min_p(options.min_p, keep),
        native.llama_sampler_init_xtc(options.xtc_probability, options.xtc_threshold, keep, _seed(options)),
    ]


def _choosing(options: SamplingOptions) -> list[Any]:
    return [
        native.llama_sampler_init_temp_ext(options.temperature, options.dynatemp_range, options.dynatemp_exponent),
        native.llama_sampler_init_dist(_seed(options)),
    ]


def _mirostat(model: Model, options: SamplingOptions) -> list[Any]:
    seed, tau, eta = _seed(options), options.mirostat_tau, options.mirostat_eta
    first = options.mirostat == 1
    return [
        native.llama_sampler_init_temp(options.temperature),
        native.llama_sampler_init_mirostat(model.n_vocab, seed, tau, eta, _MIROSTAT_CANDIDATES)
        if first
        else native.llama_sampler_init_mirostat_v2(seed, tau, eta),
    ]


def _seed(options: SamplingOptions) -> int:
    return options.seed & _SEED_MASK
