"""LoRA adapters of random weights for a model that is at hand."""

from pathlib import Path

import gguf
import numpy as np

from registry.gguf import read_gguf

_RANK = 4
_ALPHA = 8.0


def write_lora(path: Path, base: Path, *, seed: int = 1, strength: float = 0.2, architecture: str = "") -> Path:
    """Write an adapter for the attention and feed-forward weights of all layers of `base`, a model of F16 or F32.

    With a `strength` of some tenths the tiny model answers otherwise than without it.
    """
    model = read_gguf(base)
    writer = gguf.GGUFWriter(path, architecture or model.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", _ALPHA)
    random = np.random.default_rng(seed)
    for tensor in model.tensors:
        if tensor.name.startswith("blk.") and len(tensor.shape) == 2:  # matrices
            n_in, n_out = tensor.shape
            scale = strength / np.sqrt(n_in * _RANK)
            factors = {"lora_a": (_RANK, n_in), "lora_b": (n_out, _RANK)}
            for part, shape in factors.items():
                size = scale if part == "lora_b" else 1.0
                values = random.normal(scale=size, size=shape).astype(np.float32)
                writer.add_tensor(f"{tensor.name}.{part}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
