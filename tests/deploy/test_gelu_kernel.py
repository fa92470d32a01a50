"""Our GELU kernel gives the bits of llama.cpp's own, for every shape and number of threads."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ggml import F16, F32, ggml

_TABLE_ENDS = 10
"""llama.cpp looks up what lies between -10 and 10; below are zeros, above it is the number itself."""


def _gelus(numbers: np.ndarray, gates: np.ndarray | None, n_threads: int) -> np.ndarray:
    """Compute them as a model does, in a graph."""
    with ggml().context() as context:
        tensor = ggml().tensor(context, F32, numbers.shape[::-1], numbers.tobytes())
        if gates is None:
            result = ggml().base.ggml_gelu(context, tensor)
        else:
            others = ggml().tensor(context, F32, gates.shape[::-1], gates.tobytes())
            result = ggml().base.ggml_geglu_split(context, tensor, others)
        return ggml().computed(context, result, n_threads).reshape(numbers.shape)


def _table_of_gelus(numbers: np.ndarray) -> np.ndarray:
    """Look numbers up by llama.cpp's own function of 16-bit floats, which has the table alone."""
    halves = numbers.astype(np.float16)
    with ggml().context() as context:
        tensor = ggml().tensor(context, F16, halves.shape[::-1], halves.tobytes())
        result = ggml().base.ggml_gelu(context, tensor)
        return ggml().computed(context, result, 1, kind=np.float16).reshape(halves.shape).astype(np.float32)


@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 300)),
    is_gated=st.booleans(),
    n_threads=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100)
def test_gelus_have_the_bits_of_the_table(shape: tuple[int, int], *, is_gated: bool, n_threads: int, seed: int) -> None:
    """Any rows and shares of threads, the ends of the table, numbers that are none: not a bit differs."""
    draws = np.random.default_rng(seed)
    numbers = (draws.normal(size=shape) * 10.0 ** draws.integers(-6, 3)).astype(np.float32)
    odd = draws.random(shape) < 0.1 * draws.random()
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan]
    for end in (-_TABLE_ENDS, _TABLE_ENDS):
        ends += [end, np.nextafter(np.float32(end), np.float32(0)), np.nextafter(np.float32(end), np.float32(2 * end))]
    numbers[odd] = draws.choice(np.array(ends, np.float32), size=int(odd.sum()))
    expected = np.where(numbers >= _TABLE_ENDS, numbers, _table_of_gelus(numbers))
    gates = draws.normal(size=shape).astype(np.float32) if is_gated else None
    with np.errstate(over="ignore"):
        expected = expected if gates is None else expected * gates
    expected = np.where(numbers <= -_TABLE_ENDS, np.float32(0), expected)
    assert _gelus(numbers, gates, n_threads).tobytes() == expected.tobytes()
