"""Our matrix kernels give the bits that llama.cpp's own dot product gives, for every shape and number of threads."""

import ctypes
import platform
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.engine import build_from, this_cpuinfo
from tests.support.ggml import F16, F32, ggml

_BLOCK_VALUES = 32
_FORMATS = {"Q4_1": (3, 9), "Q8_0": (8, 8)}  # enum ggml_type of the weights and of the columns they are multiplied by
_BLOCK_BYTES = {3: 20, 8: 34, 9: 36}
_LANES = 16
"""32-bit floats in a register of AVX-512."""


class _TypeTraits(ctypes.Structure):
    """Struct ggml_type_traits_cpu of ggml-cpu.h."""

    _fields_ = (
        ("from_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        (
            "vec_dot",
            ctypes.CFUNCTYPE(
                None,
                ctypes.c_int,
                ctypes.c_void_p,
                ctypes.c_size_t,
                ctypes.c_void_p,
                ctypes.c_size_t,
                ctypes.c_void_p,
                ctypes.c_size_t,
                ctypes.c_int,
            ),
        ),
        ("vec_dot_type", ctypes.c_int),
        ("nrows", ctypes.c_int64),
    )


def _quantized(kind: int, rows: np.ndarray) -> bytes:
    """Give weights, shape (rows, values), in a format of ggml's."""
    n_rows, n_values = rows.shape
    packed = ctypes.create_string_buffer(n_rows * n_values // _BLOCK_VALUES * _BLOCK_BYTES[kind])
    ggml().base.ggml_quantize_chunk(kind, rows.ctypes.data, packed, 0, n_rows, n_values, None)
    return packed.raw


def _products(kind: int, weights: bytes, columns: np.ndarray, n_threads: int) -> np.ndarray:
    """Multiply as a model does, in a graph; gives shape (columns, rows)."""
    n_columns, n_values = columns.shape
    n_rows = len(weights) // (n_values // _BLOCK_VALUES * _BLOCK_BYTES[kind])
    with ggml().context() as context:
        a = ggml().tensor(context, kind, (n_values, n_rows), weights)
        b = ggml().tensor(context, F32, (n_values, n_columns), columns.tobytes())
        result = ggml().base.ggml_mul_mat(context, a, b)
        return ggml().computed(context, result, n_threads).reshape(n_columns, n_rows)


def _dot_products(kind: int, column_kind: int, weights: bytes, columns: np.ndarray) -> np.ndarray:
    """Multiply one row by one column at a time, by llama.cpp's own function."""
    n_columns, n_values = columns.shape
    n_blocks = n_values // _BLOCK_VALUES
    row_bytes = n_blocks * _BLOCK_BYTES[kind]
    type_traits = ggml().cpu.ggml_get_type_traits_cpu
    type_traits.restype = ctypes.POINTER(_TypeTraits)
    from_float = type_traits(column_kind).contents.from_float
    vec_dot = type_traits(kind).contents.vec_dot
    column = ctypes.create_string_buffer(n_blocks * _BLOCK_BYTES[column_kind])
    rows = ctypes.create_string_buffer(weights, len(weights))
    results = np.empty((n_columns, len(weights) // row_bytes), np.float32)
    for index in range(n_columns):
        from_float(columns[index].ctypes.data, ctypes.addressof(column), n_values)
        for row in range(results.shape[1]):
            place = results[index, row:].ctypes.data
            vec_dot(n_values, place, 0, ctypes.addressof(rows) + row * row_bytes, 0, ctypes.addressof(column), 0, 1)
    return results


@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 140), st.integers(1, 20)),
    n_threads=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
@pytest.mark.parametrize("name", _FORMATS)
def test_products_have_the_bits_of_the_dot_product(
    name: str, shape: tuple[int, int, int], n_threads: int, seed: int
) -> None:
    """Edges of tiles and panels, shares of threads, zeros and large values: no result differs in a bit."""
    n_rows, n_columns, n_blocks = shape
    kind, column_kind = _FORMATS[name]
    numbers = np.random.default_rng(seed)
    n_values = n_blocks * _BLOCK_VALUES
    spread = 10.0 ** numbers.integers(-3, 4)
    weights = numbers.normal(scale=spread, size=(n_rows, n_values)).astype(np.float32)
    columns = numbers.normal(size=(n_columns, n_values)).astype(np.float32)
    columns[numbers.random(columns.shape) < numbers.random()] = 0
    packed = _quantized(kind, weights)
    ours = _products(kind, packed, columns, n_threads)
    assert ours.tobytes() == _dot_products(kind, column_kind, packed, columns).tobytes()


def _summed_up(weights: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Multiply 16-bit floats as llama.cpp's tiles do: sixteen sums, then halves of them, and so on.

    A product of two is exact in 32 bits, so that it makes no difference that they fuse it with the addition.
    """
    sums = np.zeros((len(columns), len(weights), _LANES), np.float32)
    for at in range(0, weights.shape[1], _LANES):
        rows, its = weights[:, at : at + _LANES], columns[:, at : at + _LANES]
        sums += rows.astype(np.float32)[None] * its.astype(np.float32)[:, None]
    while sums.shape[2] > 1:
        half = sums.shape[2] // 2
        sums = sums[:, :, :half] + sums[:, :, half:]
    return sums[:, :, 0]


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(2, 110), st.integers(1, 30)),
    is_strided=st.booleans(),
    n_threads=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.skipif(" avx512f" not in this_cpuinfo(), reason="sums in sixteen parts need AVX-512")
def test_products_of_halves_have_the_bits_of_sixteen_sums(
    shape: tuple[int, int, int], *, is_strided: bool, n_threads: int, seed: int
) -> None:
    """Edges of tiles, shares of threads, zeros, large values, columns rounded by us or by ggml: not a bit differs."""
    n_row_tiles, n_columns, n_blocks = shape
    numbers = np.random.default_rng(seed)
    n_rows, n_values = 4 * n_row_tiles, _LANES * n_blocks
    spread = 10.0 ** numbers.integers(-3, 3)
    weights = numbers.normal(scale=spread, size=(n_rows, n_values)).astype(np.float16)
    columns = numbers.normal(size=(2, n_columns, n_values)).astype(np.float32)
    columns[numbers.random(columns.shape) < numbers.random()] = 0
    with ggml().context() as context:
        a = ggml().tensor(context, F16, (n_values, n_rows), weights.tobytes())
        if is_strided:
            b = ggml().tensor(context, F32, (n_values, 2, n_columns), columns.swapaxes(0, 1).tobytes())
            b = ggml().base.ggml_permute(context, b, 0, 2, 1, 3)
        else:
            b = ggml().tensor(context, F32, (n_values, n_columns, 2), columns.tobytes())
        ours = ggml().computed(context, ggml().base.ggml_mul_mat(context, a, b), n_threads)
    expected = [_summed_up(weights, each.astype(np.float16)) for each in columns]
    assert ours.tobytes() == np.stack(expected).tobytes()


@pytest.mark.skipif(
    not build_from().kernels or platform.machine() != "x86_64" or not sys.platform.startswith("linux"),
    reason="built without our kernels, which are for x86-64 under Linux",
)
@pytest.mark.parametrize(
    "symbol",
    [
        "llamafile_sgemm",
        "ggml_compute_forward_flash_attn_ext",
        "ggml_compute_forward_unary",
        "ggml_compute_forward_glu",
    ],
)
def test_kernels_are_linked_in(symbol: str) -> None:
    """The build took our kernels along: one that lost them would pass every other test, more slowly."""
    assert hasattr(ggml().cpu, f"__wrap_{symbol}")
