"""Facts that a GGUF header gives about a model: how many layers, tokens, parameters; what it is for."""

from registry.gguf import GgufFile
from registry.gguf_types import FILE_TYPES

_DEFAULT_CONTEXT_TOKENS = 2048  # for files that name none; old Llama conversions
_MOST_LAYERS = 4096  # no model comes near; bounds the loop over a hostile number


def parameter_count(gguf: GgufFile) -> int:
    """Count the elements of all tensors."""
    return sum(tensor.n_elements for tensor in gguf.tensors)


def expert_bytes(gguf: GgufFile) -> int:
    """Count the bytes of all experts' tensors, of which a token uses few; 0 for a model without."""
    return sum(tensor.size_bytes for tensor in gguf.tensors if "_exps." in tensor.name)


def file_type_name(gguf: GgufFile) -> str:
    """Name the quantisation that a file's metadata gives; 0 (F32) is also what files say that do not know."""
    return FILE_TYPES.get(gguf.integer("general.file_type") or -1, "unknown")


def n_layers(gguf: GgufFile) -> int:
    """Count the blocks that can be offloaded, without the output layer."""
    return min(max(gguf.integer("block_count") or 0, 0), _MOST_LAYERS)


def n_ctx_train(gguf: GgufFile) -> int:
    """Give the context that the model was trained for, in tokens."""
    value = gguf.integer("context_length")
    return value if value is not None and value > 0 else _DEFAULT_CONTEXT_TOKENS


def embedding_length(gguf: GgufFile) -> int:
    """Give the width of the model's hidden state; 0 when the file does not say."""
    return max(gguf.integer("embedding_length") or 0, 0)


def is_embedding(gguf: GgufFile) -> bool:
    """Tell whether the model pools: such a model embeds and cannot generate."""
    return gguf.value("pooling_type") is not None


def positive(gguf: GgufFile, key: str, default: int) -> int:
    """Look up a key that must hold a positive integer."""
    value = gguf.integer(key)
    return value if value is not None and value > 0 else default


def per_layer(gguf: GgufFile, key: str, *, default: int | None) -> tuple[int, ...]:
    """Read a key that holds one number for all layers or one per layer; empty when absent and without default."""
    layers = n_layers(gguf)
    value = gguf.value(key)
    if isinstance(value, tuple):
        return tuple(max(int(item), 0) for item in value[:layers] if isinstance(item, int))
    if isinstance(value, int) and not isinstance(value, bool):
        return (max(value, 0),) * layers
    return () if default is None else (default,) * layers
