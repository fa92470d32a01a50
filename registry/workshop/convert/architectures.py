"""What each architecture's configuration and tensors become in a GGUF: names, permutations and shifts.

Tensor names are those of gguf's own map. What differs is listed here, one recipe for each class of transformers.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gguf
import numpy as np

from actors.errors import ConversionFailed
from registry.workshop.convert.configuration import Configuration
from registry.workshop.convert.weights import Tensor

Change = Callable[[str, Tensor, Configuration], Tensor]


def _unchanged(_name: str, tensor: Tensor, _config: Configuration) -> Tensor:
    return tensor


@dataclass(frozen=True, slots=True)
class Recipe:
    """One architecture."""

    arch: gguf.MODEL_ARCH
    change: Change = _unchanged
    """Turns a tensor, by its name in the folder, into the one that llama.cpp expects."""
    ignored: tuple[str, ...] = ()
    """Beginnings of names that a GGUF does without."""
    describe: Callable[[Configuration, gguf.GGUFWriter], None] = lambda _config, _writer: None
    """Writes what this architecture has beside the common parameters."""
    cuts_vocabulary: bool = False
    """Whether rows of the weights and added tokens are cut to the shorter of both."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What the part about text of a configuration leaves out."""
    left_out: tuple[str, ...] = ()
    """Beginnings of names of parts that are not converted, which is told."""
    computed: Callable[[Configuration], Iterator[tuple[str, Tensor]]] = lambda _config: iter(())
    """Gives tensors that are computed from the configuration."""


def permuted(tensor: Tensor, n_heads: int) -> Tensor:
    """Put the rows of a query or key projection in the order of llama.cpp's rotation, pairs side by side."""
    values = tensor.values
    if not n_heads or values.shape[0] % (2 * n_heads):
        raise ConversionFailed(f"{values.shape[0]} rows cannot be divided among {n_heads} heads")
    shape = values.shape
    split = values.reshape(n_heads, 2, shape[0] // n_heads // 2, *shape[1:])
    return tensor.reshaped(split.swapaxes(1, 2).reshape(shape))


def heads_of(name: str, config: Configuration) -> int:
    """Tell in how many heads the rows of a tensor must be permuted; 0: not at all."""
    if name.endswith(("q_proj.weight", "q_proj.bias")):
        return config.n_heads
    return config.n_kv_heads if name.endswith(("k_proj.weight", "k_proj.bias")) else 0


def _llama(name: str, tensor: Tensor, config: Configuration) -> Tensor:
    n_heads = heads_of(name, config)
    return permuted(tensor, n_heads) if n_heads else tensor


def _gemma(name: str, tensor: Tensor, _config: Configuration) -> Tensor:
    """Add the one that gemma's norms add at run time."""
    return Tensor("F32", tensor.float32() + 1) if name.endswith("norm.weight") else tensor


def _describe_llama(config: Configuration, writer: gguf.GGUFWriter) -> None:
    writer.add_vocab_size(config.integer("vocab_size"))
    writer.add_rope_dimension_count(config.head_length)


def _describe_bert(config: Configuration, writer: gguf.GGUFWriter) -> None:
    writer.add_causal_attention(value=False)
    writer.add_token_type_count(config.integer("type_vocab_size", 1))


def _describe_gemma(config: Configuration, writer: gguf.GGUFWriter) -> None:
    if config.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(config.number("attn_logit_softcapping"))
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config.number("final_logit_softcapping"))
    if config.get("sliding_window"):
        writer.add_sliding_window(config.integer("sliding_window"))
    writer.add_add_space_prefix(value=False)


def _rotation_factors(config: Configuration) -> Iterator[tuple[str, Tensor]]:
    """Give the factors by which Llama 3 stretches its rotation."""
    rope = config.rope
    if str(rope.get("rope_type", "")).lower() != "llama3":
        return
    base, factor = float(rope.get("rope_theta", 10000.0)), float(rope.get("factor", 8.0))
    low, high = float(rope.get("low_freq_factor", 1.0)), float(rope.get("high_freq_factor", 4.0))
    trained = float(rope.get("original_max_position_embeddings", 8192))
    if low == high or not factor:
        raise ConversionFailed("the configuration's rope_scaling contradicts itself")
    length = config.head_length
    waves = 2 * math.pi * base ** (np.arange(0, length, 2, dtype=np.float32) / length)
    smooth = (trained / waves - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    factors = np.where(waves < trained / high, 1.0, np.where(waves > trained / low, factor, between))
    yield "rope_freqs.weight", Tensor("F32", factors.astype(np.float32))


_LLAMA = Recipe(
    gguf.MODEL_ARCH.LLAMA,
    _llama,
    ignored=("model.rotary_emb.", "rotary_emb."),
    describe=_describe_llama,
    computed=_rotation_factors,
)
_GEMMA = ("lm_head.",)
_GEMMA_3 = Recipe(gguf.MODEL_ARCH.GEMMA3, _gemma, _GEMMA, _describe_gemma, cuts_vocabulary=True)
_GEMMA_3_DEFAULTS = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "max_position_embeddings": 131072,
}  # of transformers' Gemma3TextConfig
_EYES = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")
_BERT = Recipe(
    gguf.MODEL_ARCH.BERT,
    describe=_describe_bert,
    ignored=("embeddings.position_ids", "pooler.", "cls.predictions", "cls.seq_relationship"),
)

RECIPES: Mapping[str, Recipe] = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": Recipe(gguf.MODEL_ARCH.QWEN2),
    "Qwen2Model": Recipe(gguf.MODEL_ARCH.QWEN2),
    "Qwen3ForCausalLM": Recipe(gguf.MODEL_ARCH.QWEN3),
    "Qwen3Model": Recipe(gguf.MODEL_ARCH.QWEN3),
    "GemmaForCausalLM": Recipe(gguf.MODEL_ARCH.GEMMA, _gemma, _GEMMA, _describe_gemma),
    "Gemma2ForCausalLM": Recipe(gguf.MODEL_ARCH.GEMMA2, _gemma, _GEMMA, _describe_gemma),
    "Gemma3ForCausalLM": _GEMMA_3,
    "Gemma3ForConditionalGeneration": replace(_GEMMA_3, defaults=_GEMMA_3_DEFAULTS, left_out=_EYES),
    "BertModel": _BERT,
    "BertForMaskedLM": _BERT,
}
"""By the class that a configuration names under `architectures`."""


def recipe_for(config: Configuration) -> Recipe:
    """Find the recipe.

    Raises:
        ConversionFailed: there is none.
    """
    name = config.architecture
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise ConversionFailed(
            f'unsupported architecture "{name}": {known} can be converted; convert others with llama.cpp\'s script'
        )
    return RECIPES[name]
