"""llama.cpp's own answer: one sequence, one token at a time, no slots, no chunks, no reuse.

The simplest loop over the low-level API, against which the engine's tokens are compared. It also tells how far apart
the two best logits were at each step, because the shape of a batch may flip a near-tie.
"""

import ctypes
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as native
import numpy as np

from runners.llama.layout import Layout, quickest_layout

NEAR_TIE = 0.25
"""Logit distance below which a difference between two shapes of batch is rounding, not an error."""


@dataclasses.dataclass(frozen=True)
class GreedyAnswer:
    """Tokens of a greedy answer and, per token, the distance between the two best logits."""

    tokens: list[int]
    margins: list[float]


def greedy_answer(
    path: Path,
    prompt: list[int],
    *,
    n_tokens: int,
    adapters: Sequence[tuple[Path, float]] = (),
    layout: Layout | None = None,
    window: tuple[int, int] | None = None,
) -> GreedyAnswer:
    """Decode `n_tokens` greedily after `prompt`, ending early at an end-of-generation token (included).

    `window` is a context and how many tokens at its front are kept: the sequence is shifted in it as llama.cpp's
    server does, and then goes on behind an end.

    Another layout of the cache rounds differently, and moves logits by up to one; so the default is the one that the
    engine has for an answer of this length.
    """
    layout = layout or quickest_layout(len(prompt) + n_tokens)
    native.llama_backend_init()
    model_params = native.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = native.llama_model_load_from_file(str(path).encode(), model_params)
    params = native.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_threads, params.n_threads_batch = 2048, 2048, 1, 1
    params.flash_attn_type = layout.flash_attention
    params.type_k, params.type_v = layout.key_type, layout.value_type
    context = native.llama_init_from_model(model, params)
    handles = [native.llama_adapter_lora_init(model, str(file).encode()) for file, _ in adapters]
    native.llama_set_adapters_lora(
        context,
        (native.llama_adapter_lora_p_ctypes * len(handles))(*handles),
        len(handles),
        (ctypes.c_float * len(handles))(*[scale for _, scale in adapters]),
    )
    vocab = native.llama_model_get_vocab(model)
    n_vocab = native.llama_vocab_n_tokens(vocab)
    tokens: list[int] = []
    margins: list[float] = []
    pending, n_cached = prompt, 0
    while len(tokens) < n_tokens:
        n_cached = n_cached if window is None or len(pending) > 1 else _shifted(context, n_cached, *window)
        _decode(context, pending)
        n_cached += len(pending)
        logits = np.ctypeslib.as_array(native.llama_get_logits_ith(context, -1), shape=(n_vocab,))
        best = int(np.argmax(logits))
        top_two = np.partition(logits, -2)[-2:]
        tokens.append(best)
        margins.append(float(top_two[1] - top_two[0]))
        if window is None and native.llama_vocab_is_eog(vocab, best):
            break
        pending = [best]
    native.llama_free(context)
    native.llama_model_free(model)
    return GreedyAnswer(tokens, margins)


def _shifted(context: Any, n_cached: int, num_ctx: int, n_keep: int) -> int:
    if n_cached + 1 < num_ctx:
        return n_cached
    n_lost = (n_cached - n_keep) // 2
    memory = native.llama_get_memory(context)
    native.llama_memory_seq_rm(memory, 0, n_keep, n_keep + n_lost)
    native.llama_memory_seq_add(memory, 0, n_keep + n_lost, -1, -n_lost)
    return n_cached - n_lost


def first_difference(answer: GreedyAnswer, tokens: list[int]) -> tuple[int, float] | None:
    """Give position and margin of the first token that differs beyond rounding, None when the answers agree.

    After a near-tie went the other way the texts may part for good, so nothing behind it is compared.
    """
    for position, (expected, got) in enumerate(zip(answer.tokens, tokens, strict=False)):
        if expected != got:
            margin = answer.margins[position]
            return None if margin < NEAR_TIE else (position, margin)
    return None if len(tokens) == len(answer.tokens) else (min(len(tokens), len(answer.tokens)), float("inf"))


def _decode(context: Any, tokens: list[int]) -> None:
    array = (native.llama_token * len(tokens))(*tokens)
    batch = native.llama_batch_get_one(ctypes.cast(array, ctypes.POINTER(native.llama_token)), len(tokens))
    assert native.llama_decode(context, batch) == 0


def pooled_alone(path: Path, inputs: Sequence[Sequence[int]], *, pooling: int, width: int) -> list[list[float]]:
    """Pool each input in a call of its own: what llama.cpp gives for it alone, not normalised."""
    native.llama_backend_init()
    model_params = native.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = native.llama_model_load_from_file(str(path).encode(), model_params)
    params = native.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 1024
    params.embeddings, params.pooling_type = True, pooling
    context = native.llama_init_from_model(model, params)
    found = []
    for tokens in inputs:
        memory = native.llama_get_memory(context)
        if memory:
            native.llama_memory_clear(memory, True)  # noqa: FBT003  # a native call
        _decode(context, list(tokens))
        found.append([float(each) for each in native.llama_get_embeddings_seq(context, 0)[:width]])
    native.llama_free(context)
    native.llama_model_free(model)
    return found
