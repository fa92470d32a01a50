"""The types of a KV cache: their names, as `OLLAMA_KV_CACHE_TYPE` takes them, and what they take.

Source: the block sizes of ggml's types (ggml-common.h); each block holds 32 values.
"""

_BLOCK_BYTES = {
    "f32": 128,
    "f16": 64,
    "bf16": 64,
    "q8_0": 34,
    "q5_1": 24,
    "q5_0": 22,
    "q4_1": 20,
    "q4_0": 18,
    "iq4_nl": 18,
}
_OF_16_BITS = "f16"
NAMES = tuple(_BLOCK_BYTES)
_UNQUANTIZED = ("f32", "f16", "bf16")


def is_quantized(name: str) -> bool:
    """Tell whether a type is one of blocks, which needs flash attention."""
    return name not in _UNQUANTIZED


def scaled_bytes(f16_bytes: int, name: str | None) -> int:
    """Give what takes `f16_bytes` in 16 bits as it is in this type; None: unchosen, which is of 16 bits."""
    return f16_bytes * _BLOCK_BYTES[name or _OF_16_BITS] // _BLOCK_BYTES[_OF_16_BITS]
