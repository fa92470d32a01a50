"""Sizes from GGUF headers."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import estimate
from registry.gguf import read_gguf
from registry.memory import cache_needs

WriteGguf = Callable[..., Path]


def test_kv_bytes_grouped_query_heads_count_key_value_heads(write_gguf: WriteGguf) -> None:
    """SmolLM2: 30 layers, 3 heads of 64, keys and values, two bytes each."""
    path = write_gguf(
        llama__block_count=30,
        llama__embedding_length=576,
        llama__attention__head_count=9,
        llama__attention__head_count_kv=3,
    )
    assert cache_needs(read_gguf(path)).bytes_per_token == 30 * 3 * 64 * 2 * 2


def test_kv_bytes_without_key_value_heads_count_all_heads(tiny_gguf: Path) -> None:
    """Absent, the number of key-value heads is the number of heads."""
    file = read_gguf(tiny_gguf)
    assert cache_needs(file).bytes_per_token == 4 * 192 * 2 * 2
    assert (estimate.n_layers(file), estimate.n_ctx_train(file), estimate.embedding_length(file)) == (4, 8192, 192)
    assert estimate.parameter_count(file) == 2_004_672


def test_kv_bytes_heads_per_layer_and_explicit_lengths(write_gguf: WriteGguf) -> None:
    """Hybrid models name heads per layer; layers with none count as nothing."""
    path = write_gguf(
        llama__block_count=3,
        llama__embedding_length=64,
        llama__attention__head_count=4,
        llama__attention__head_count_kv=[2, 0, 2],
        llama__attention__key_length=32,
        llama__attention__value_length=16,
    )
    assert cache_needs(read_gguf(path)).bytes_per_token == 4 * (32 + 16) * 2


def test_kv_bytes_encoder_keeps_none(write_gguf: WriteGguf) -> None:
    """A model without causal attention has no cache, and pools."""
    path = write_gguf(
        architecture="bert",
        bert__block_count=6,
        bert__embedding_length=384,
        bert__attention__head_count=12,
        bert__attention__causal=False,
        bert__pooling_type=1,
    )
    assert cache_needs(read_gguf(path)).bytes_per_token == 0
    assert estimate.is_embedding(read_gguf(path))


@pytest.mark.parametrize("heads", [0, "many", 1.5, True])
def test_sizes_odd_metadata_reads_as_absent(write_gguf: WriteGguf, heads: object) -> None:
    """Values of the wrong type or zero never divide by zero or raise."""
    path = write_gguf(
        llama__block_count=2, llama__embedding_length=64, llama__attention__head_count=heads, llama__context_length=0
    )
    assert cache_needs(read_gguf(path)).bytes_per_token == 0
    assert estimate.n_ctx_train(read_gguf(path)) > 0


def test_sizes_hostile_layer_count_is_bounded(write_gguf: WriteGguf) -> None:
    """Four billion layers do not make a list of four billion."""
    path = write_gguf(llama__block_count=(1 << 32) - 1, llama__embedding_length=64, llama__attention__head_count=4)
    assert estimate.n_layers(read_gguf(path)) < 1 << 20
    assert cache_needs(read_gguf(path)).bytes_per_token > 0


def test_expert_bytes_count_the_experts_tensors_alone(tiny_gguf: Path) -> None:
    """None in a dense model; by llama.cpp's names in others."""
    file = read_gguf(tiny_gguf)
    assert estimate.expert_bytes(file) == 0
    first, *rest = file.tensors
    expert = dataclasses.replace(first, name="blk.0.ffn_up_exps.weight")
    assert estimate.expert_bytes(dataclasses.replace(file, tensors=(expert, *rest))) == first.size_bytes
