"""Quantizing one GGUF by llama.cpp: a program of its own, which `registry.workshop.child` runs and follows.

llama.cpp tells its progress in its log only, one line per tensor.
"""

import ctypes
import re
import sys

from actors.errors import ConversionFailed
from registry.workshop.bench import Tell, carry_out
from registry.workshop.quantize import QuantizeOrder
from runners.llama.binding import native

_TENSOR = re.compile(rb"\[\s*(\d+)/\s*(\d+)\]")
_LEVEL_ERROR = 4
_BUFFER_BYTES = 1 << 30
"""Of a tensor's rows held at once; more only takes memory from running models."""
_FAILED = re.compile(r".*failed to quantize:\s*")


def quantize(order: QuantizeOrder, tell: Tell) -> None:
    """Quantize a file.

    Raises:
        ConversionFailed: llama.cpp refused it; the message carries its reason.
    """
    complaints: list[str] = []

    @native.llama_log_callback  # type: ignore[untyped-decorator]  # ctypes has no types here
    def on_log(level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
        found = _TENSOR.search(text)
        if found:
            tell(int(found[1]), int(found[2]))
        elif level == _LEVEL_ERROR and text.strip():
            complaints.append(text.decode("utf-8", "replace").strip())

    native.llama_log_set(on_log, ctypes.c_void_p(0))
    native.llama_backend_init()
    params = native.llama_model_quantize_default_params()
    params.nthread = order.n_threads
    params.ftype = order.file_type
    params.max_buf_size = _BUFFER_BYTES
    if native.llama_model_quantize(order.source.encode(), order.target.encode(), ctypes.byref(params)):
        reason = _FAILED.sub("", complaints[-1]) if complaints else "llama.cpp gave no reason"
        raise ConversionFailed(f"llama.cpp could not quantize the model: {reason}")


if __name__ == "__main__":
    sys.exit(carry_out(QuantizeOrder, quantize))
