"""Our attention kernel gives the bits that llama.cpp's own gives, for every shape, mask and number of threads.

The kernel leaves masks that differ from head to head to llama.cpp. So the same attention is computed twice: with one
mask for all heads, as models have it, and with that mask copied for each head.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ggml import F16, F32, ggml

_TILED = 64
"""Queries from which on llama.cpp works in tiles, and adds up in f32."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """One attention: so many numbers in a key and in a value, heads, tokens, cells, streams."""

    key_size: int = 64
    value_size: int = 64
    kv_heads: int = 2
    sharing: int = 3
    """Query heads of each KV head."""
    n_tokens: int = 1
    n_cells: int = 40
    n_streams: int = 1


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Numbers of one attention, in numpy's order."""

    shape: _Shape
    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    mask: np.ndarray | None
    sinks: np.ndarray | None = None
    max_bias: float = 0.0
    softcap: float = 0.0

    def attention(self, *, n_threads: int, mask_per_head: bool) -> np.ndarray:
        """Compute it; shape (streams, tokens, heads, value size)."""
        shape, lib = self.shape, ggml()
        n_heads = shape.kv_heads * shape.sharing
        kinds = {np.dtype(np.float16): F16, np.dtype(np.float32): F32}
        with lib.context() as context:
            tensors = [
                lib.base.ggml_permute(
                    context, lib.tensor(context, kinds[each.dtype], each.shape[::-1], each.tobytes()), 0, 2, 1, 3
                )
                for each in (self.queries, self.keys, self.values)
            ]
            mask = self.mask
            if mask_per_head:
                if mask is None:
                    mask = np.zeros((shape.n_streams, 1, shape.n_tokens, shape.n_cells), np.float16)
                mask = np.repeat(mask, n_heads, axis=1)
            masks = None if mask is None else lib.tensor(context, F16, mask.shape[::-1], mask.tobytes())
            scale = float(np.float32(shape.key_size**-0.5))
            result = lib.base.ggml_flash_attn_ext(context, *tensors, masks, scale, self.max_bias, self.softcap)
            if self.sinks is not None:
                sinks = lib.tensor(context, F32, self.sinks.shape, self.sinks.tobytes())
                lib.base.ggml_flash_attn_ext_add_sinks(result, sinks)
            floats = lib.computed(context, result, n_threads)
        return floats.reshape(shape.n_streams, shape.n_tokens, n_heads, shape.value_size)


def _inputs(shape: _Shape, numbers: np.random.Generator, *, masking: str = "causal") -> _Inputs:
    """Draw numbers, with zeros of both signs, tiny ones and large ones among the values."""
    streams, cells, heads = shape.n_streams, shape.n_cells, shape.kv_heads
    keys = numbers.normal(size=(streams, cells, heads, shape.key_size)).astype(np.float16)
    values = numbers.normal(size=(streams, cells, heads, shape.value_size)).astype(np.float16)
    odd = numbers.random(values.shape) < 0.1 * numbers.random()
    values[odd] = numbers.choice(np.array([0.0, -0.0, 6e-8, -3e-5, 300.0], np.float16), size=int(odd.sum()))
    queries = numbers.normal(
        scale=10.0 ** numbers.integers(-2, 2), size=(streams, shape.n_tokens, heads * shape.sharing, 1)
    )
    queries = (queries * numbers.normal(size=(*queries.shape[:3], shape.key_size))).astype(np.float32)
    return _Inputs(shape, queries, keys, values, None if masking == "none" else _mask(shape, numbers, masking))


def _mask(shape: _Shape, numbers: np.random.Generator, masking: str) -> np.ndarray:
    """Say what each token sees: its past, some of it, a window, its text, scattered cells, or that and its distance."""
    size = (shape.n_streams, 1, shape.n_tokens, shape.n_cells)
    cells, tokens = np.arange(shape.n_cells), np.arange(shape.n_tokens)[:, None]
    ends = numbers.integers(1, shape.n_cells + 1, size=(shape.n_streams, 1, 1, 1)) + tokens
    sees = cells < ends
    if masking == "window":
        sees = sees & (cells >= ends - numbers.integers(1, shape.n_cells + 1))
    if masking == "texts":
        texts = np.sort(numbers.integers(0, 9, size=(*size[:2], 1, max(size[2:]))))
        sees = np.swapaxes(texts[..., : shape.n_tokens], 2, 3) == texts[..., : shape.n_cells]
    if masking in {"scattered", "graded"}:
        sees = sees & (numbers.random(size) < numbers.random())
    grades = -numbers.integers(0, 9, size=size) / 7 if masking == "graded" else np.zeros(size)
    return np.where(sees, grades, -np.inf).astype(np.float16)


def _agree(inputs: _Inputs, n_threads: int) -> bool:
    ours = inputs.attention(n_threads=n_threads, mask_per_head=False)
    return ours.tobytes() == inputs.attention(n_threads=n_threads, mask_per_head=True).tobytes()


@given(
    shape=st.builds(
        _Shape,
        key_size=st.sampled_from([64, 128, 192, 256]),
        value_size=st.sampled_from([64, 128, 256]),
        kv_heads=st.integers(1, 3),
        sharing=st.integers(1, 9),
        n_tokens=st.integers(1, 5),
        n_cells=st.integers(1, 100),
        n_streams=st.integers(1, 4),
    ),
    masking=st.sampled_from(["causal", "window", "scattered", "graded"]),
    n_threads=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=150)
def test_attention_has_the_bits_of_llama_cpps(shape: _Shape, masking: str, n_threads: int, seed: int) -> None:
    """Rows of any size, heads that share, streams, cells that are not seen: no result differs in a bit."""
    assert _agree(_inputs(shape, np.random.default_rng(seed), masking=masking), n_threads)


@given(
    shape=st.builds(
        _Shape,
        key_size=st.sampled_from([64, 256]),
        sharing=st.sampled_from([1, 3, 4, 7]),
        n_tokens=st.just(1) | st.integers(1, _TILED + 1),
        n_cells=st.integers(480, 1_200),
    ),
    masking=st.sampled_from(["causal", "window", "scattered"]),
    n_threads=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_long_attention_has_the_bits_of_llama_cpps(shape: _Shape, masking: str, n_threads: int, seed: int) -> None:
    """From 512 cells on llama.cpp cuts those of a single token by the number of threads; some shares may be unseen."""
    assert _agree(_inputs(shape, np.random.default_rng(seed), masking=masking), n_threads)


@given(
    shape=st.builds(
        _Shape,
        key_size=st.sampled_from([16, 32, 64, 80, 128]),
        value_size=st.sampled_from([32, 64, 128]),
        kv_heads=st.integers(1, 13),
        sharing=st.integers(1, 3),
        n_tokens=st.integers(_TILED, 200),
        n_cells=st.integers(1, 300),
        n_streams=st.integers(1, 2),
    ),
    masking=st.sampled_from(["texts", "causal", "window", "scattered", "graded", "none"]),
    n_threads=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_attention_of_many_tokens_has_the_bits_of_llama_cpps(
    shape: _Shape, masking: str, n_threads: int, seed: int
) -> None:
    """Texts that see themselves, tokens that see all or nothing, edges of tiles: no bit differs but a zero's sign."""
    inputs = _inputs(shape, np.random.default_rng(seed), masking=masking)
    ours, theirs = (inputs.attention(n_threads=n_threads, mask_per_head=each) + 0 for each in (False, True))
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("n_cells", [7, 600])
@pytest.mark.parametrize(
    "other",
    [{"softcap": 5.0}, {"max_bias": 8.0}, {"sinks": np.array([0.5] * 6, np.float32)}],
    ids=["softcap", "alibi", "sinks"],
)
def test_options_that_the_kernel_lacks_take_effect(other: dict[str, Any], n_cells: int) -> None:
    """Capped scores, biases by distance and sinks are left to llama.cpp, and change the result."""
    plain = _inputs(_Shape(n_cells=n_cells), np.random.default_rng(1), masking="graded")
    special = dataclasses.replace(plain, **other)
    assert _agree(special, 2)
    without, with_it = (each.attention(n_threads=2, mask_per_head=False) for each in (plain, special))
    assert not np.array_equal(without, with_it)


@pytest.mark.parametrize("n_cells", [7, 600])
@pytest.mark.parametrize("size", [64, 80])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_attention_is_that_of_its_definition(kind: type[np.floating[Any]], size: int, n_cells: int) -> None:
    """Also where a head has a size or a type that the kernel leaves to llama.cpp: near to a sum in 64 bits."""
    inputs = _inputs(_Shape(key_size=size, value_size=size, n_cells=n_cells), np.random.default_rng(2))
    inputs = dataclasses.replace(inputs, keys=inputs.keys.astype(kind), values=inputs.values.astype(kind))
    assert inputs.mask is not None
    queries = inputs.queries[0, 0].astype(np.float64)
    keys, values = (np.repeat(each[0], 3, axis=1).astype(np.float64) for each in (inputs.keys, inputs.values))
    scores = np.einsum("hd,chd->hc", queries, keys) * size**-0.5 + inputs.mask[0, 0]
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected = np.einsum("hc,chd->hd", weights / weights.sum(axis=1, keepdims=True), values)
    ours = inputs.attention(n_threads=2, mask_per_head=False)[0, 0]
    np.testing.assert_allclose(ours, expected, rtol=0.02, atol=0.02 * np.abs(values).max())


def test_a_token_that_sees_nothing_gets_zeros() -> None:
    """A mask without a cell is no division by zero."""
    inputs = _inputs(_Shape(n_tokens=2, n_cells=20), np.random.default_rng(3))
    mask = np.full((1, 1, 2, 20), -np.inf, np.float16)
    mask[0, 0, 1, 5] = 0
    result = dataclasses.replace(inputs, mask=mask).attention(n_threads=2, mask_per_head=False)
    assert not result[0, 0].any()
    np.testing.assert_array_equal(result[0, 1, 0], inputs.values[0, 5, 0].astype(np.float32))
