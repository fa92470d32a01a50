"""Experts that stay in the host's memory while their layers lie on devices.

The list belongs to the loader, which keeps it until the model is loaded: llama.cpp takes a pointer.
Source: llama.h, `llama_model_params.tensor_buft_overrides`; the pattern is that of llama.cpp's own `--n-cpu-moe`.
"""

import ctypes
from typing import Any

from actors.messages.model import LoadPlan
from runners.llama.binding import native

_EXPERTS = r"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps"


class _Override(ctypes.Structure):
    """`llama_model_tensor_buft_override`: tensors of this pattern go into buffers of this type."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def experts_on_host(plan: LoadPlan) -> Any:
    """Make the overrides for a plan, None where it needs none; they end with an empty one."""
    if not plan.n_expert_layers_on_host:
        return None
    host = _host_buffer_type()
    patterns = [_EXPERTS.format(layer=layer).encode() for layer in range(plan.n_expert_layers_on_host)]
    entries = [*(_Override(pattern, host) for pattern in patterns), _Override(None, None)]
    return (_Override * len(entries))(*entries)


def _host_buffer_type() -> int:
    function = native._lib.ggml_backend_cpu_buffer_type  # noqa: SLF001 - the bindings leave ggml's own functions out
    function.restype, function.argtypes = ctypes.c_void_p, []
    return int(function())
