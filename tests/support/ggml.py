"""The ggml that the runners use, by its C functions: graphs of one operation, computed as a model's are."""

import contextlib
import ctypes
import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

F32, F16 = 0, 1
"""Of enum ggml_type."""
_CONTEXT_BYTES = 64 << 20


class _InitParams(ctypes.Structure):
    """Struct ggml_init_params of ggml.h."""

    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


class Ggml:
    """Its two libraries, loaded."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("llama_cpp")
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent / "lib"
        self.base = ctypes.CDLL(str(folder / "libggml-base.so"), mode=ctypes.RTLD_GLOBAL)
        self.cpu = ctypes.CDLL(str(folder / "libggml-cpu.so"))
        self.cpu.ggml_cpu_init()
        pointer, long, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
        for function, result, arguments in (
            (self.base.ggml_init, pointer, (_InitParams,)),
            (self.base.ggml_free, None, (pointer,)),
            (self.base.ggml_new_tensor_4d, pointer, (pointer, ctypes.c_int, long, long, long, long)),
            (self.base.ggml_permute, pointer, (pointer, pointer, *(ctypes.c_int,) * 4)),
            (self.base.ggml_gelu, pointer, (pointer, pointer)),
            (self.base.ggml_geglu_split, pointer, (pointer, pointer, pointer)),
            (self.base.ggml_mul_mat, pointer, (pointer, pointer, pointer)),
            (self.base.ggml_flash_attn_ext, pointer, (*(pointer,) * 5, number, number, number)),
            (self.base.ggml_flash_attn_ext_add_sinks, None, (pointer, pointer)),
            (self.base.ggml_new_graph, pointer, (pointer,)),
            (self.base.ggml_build_forward_expand, None, (pointer, pointer)),
            (self.base.ggml_get_data, pointer, (pointer,)),
            (self.base.ggml_nbytes, ctypes.c_size_t, (pointer,)),
            (
                self.base.ggml_quantize_chunk,
                ctypes.c_size_t,
                (ctypes.c_int, pointer, pointer, long, long, long, pointer),
            ),
            (self.cpu.ggml_graph_compute_with_ctx, ctypes.c_int, (pointer, pointer, ctypes.c_int)),
        ):
            function.restype = result
            function.argtypes = arguments

    @contextlib.contextmanager
    def context(self) -> Iterator[int]:
        """Give a context for some tensors and a graph, and free it with them."""
        context = self.base.ggml_init(_InitParams(_CONTEXT_BYTES, None, False))  # noqa: FBT003  # a field of C's
        try:
            yield context
        finally:
            self.base.ggml_free(context)

    def tensor(self, context: int, kind: int, shape: Sequence[int], data: bytes) -> int:
        """Make a tensor; its shape is in ggml's order, the fastest first."""
        tensor: int = self.base.ggml_new_tensor_4d(context, kind, *shape, *(1,) * (4 - len(shape)))
        assert self.base.ggml_nbytes(tensor) == len(data)
        ctypes.memmove(self.base.ggml_get_data(tensor), data, len(data))
        return tensor

    def computed(
        self, context: int, result: int, n_threads: int, kind: type[np.floating[Any]] = np.float32
    ) -> np.ndarray:
        """Compute what was asked for; gives its floats, which are of this kind."""
        graph = self.base.ggml_new_graph(context)
        self.base.ggml_build_forward_expand(graph, result)
        assert self.cpu.ggml_graph_compute_with_ctx(context, graph, n_threads) == 0
        data = ctypes.string_at(self.base.ggml_get_data(result), self.base.ggml_nbytes(result))
        return np.frombuffer(data, kind)


@cache
def ggml() -> Ggml:
    """Load it once."""
    return Ggml()
