"""What a loaded model takes, computed from its GGUF header: weights by layer, cache by architecture, what else.

The cache follows llama.cpp's own arithmetic. Layers with attention keep keys and values of every token (grouped heads:
of the key-value heads; multi-head latent attention: one compressed key and no value). Layers with a sliding window keep
the window, unless the runner keeps it whole so that prompts can be shared. Recurrent layers keep one state for each
sequence. What else there is was measured (October 2026): a runner's process, its vocabulary, the graph of one batch,
whose largest part is the logits of all its tokens; of that a host gives only what is used.
"""

import re
from dataclasses import dataclass

from registry.estimate import embedding_length, n_layers, per_layer, positive
from registry.gguf import GgufFile
from registry.gguf_types import TENSOR_TYPES

_BLOCK = re.compile(r"blk\.(\d+)\.")
_CACHE_PADDING = 256
_FLOAT_BYTES = 4
_MASK_BYTES = 2
_PROCESS_BYTES = 56 << 20
_BYTES_PER_TOKEN = 300  # of the vocabulary: text, index, merges
_BYTES = {kind.name.lower(): (kind.block_bytes, kind.block_elements) for kind in TENSOR_TYPES.values()}
# Every so many layers one sees the whole context, where the file does not say; source: llama.cpp's models.
_WINDOW_PATTERNS = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "llama4": 4, "exaone4": 4}


@dataclass(frozen=True, slots=True)
class CacheNeeds:
    """What the cache takes."""

    bytes_per_token: int
    """In layers that see the whole context."""
    window_bytes_per_token: int = 0
    """In layers that see a window."""
    window_tokens: int = 0
    state_bytes: int = 0
    """Of one sequence, whatever its length."""

    @property
    def whole_bytes_per_token(self) -> int:
        """In all layers, when windows are kept whole."""
        return self.bytes_per_token + self.window_bytes_per_token

    def total_bytes(self, *, num_ctx: int, n_slots: int, n_batch: int = 512, keeps_windows_whole: bool = True) -> int:
        """Give the cache of so many slots of so many tokens each."""
        cells = _padded(num_ctx)
        windowed = cells if keeps_windows_whole else min(cells, _padded(self.window_tokens + n_batch))
        return n_slots * (cells * self.bytes_per_token + windowed * self.window_bytes_per_token + self.state_bytes)


def cache_needs(gguf: GgufFile, *, key_type: str = "f16", value_type: str = "f16") -> CacheNeeds:
    """Compute what the cache takes, with these types of keys and values."""
    if gguf.value("attention.causal") is False:
        return CacheNeeds(0)  # an encoder keeps none
    heads = per_layer(gguf, "attention.head_count", default=0)
    kv_heads = per_layer(gguf, "attention.head_count_kv", default=None) or heads
    query_heads = max(heads, default=0)
    head_length = embedding_length(gguf) // query_heads if query_heads else 0
    key_bytes = _size(positive(gguf, "attention.key_length", head_length), key_type)
    is_latent = (gguf.integer("attention.key_length_mla") or 0) > 0
    value_bytes = 0 if is_latent else _size(positive(gguf, "attention.value_length", head_length), value_type)
    whole = windowed = 0
    for n_heads, has_window in zip(kv_heads, _windows(gguf), strict=False):
        if has_window:
            windowed += n_heads * (key_bytes + value_bytes)
        else:
            whole += n_heads * (key_bytes + value_bytes)
    n_recurrent = sum(1 for n_heads in kv_heads if not n_heads) or (n_layers(gguf) if not query_heads else 0)
    return CacheNeeds(whole, windowed, gguf.integer("attention.sliding_window") or 0, n_recurrent * _state_bytes(gguf))


def layer_bytes(gguf: GgufFile) -> tuple[tuple[int, ...], int]:
    """Give the weights of each layer, and of what belongs to none (embeddings, output)."""
    layers, others = [0] * n_layers(gguf), 0
    for tensor in gguf.tensors:
        match = _BLOCK.match(tensor.name)
        if match and int(match[1]) < len(layers):
            layers[int(match[1])] += tensor.size_bytes
        else:
            others += tensor.size_bytes
    return tuple(layers), others


def compute_bytes(gguf: GgufFile, *, num_ctx: int, n_batch: int = 512, flash_attention: bool = True) -> int:
    """Compute the buffer of llama.cpp's graph for one batch: the larger of its output and of a layer.

    Without flash attention a layer holds the scores of the whole batch over the whole cache of a slot.
    """
    is_encoder = gguf.value("attention.causal") is False
    heads = max(per_layer(gguf, "attention.head_count", default=0), default=0)
    cells = n_batch if is_encoder else _padded(num_ctx)
    scores = 0 if flash_attention else heads * n_batch * cells * _FLOAT_BYTES
    output = n_batch * _FLOAT_BYTES * (_n_vocab(gguf) + 2 * embedding_length(gguf))
    return max(0 if is_encoder else output, scores + _layer_bytes(gguf, num_ctx, n_batch))


def host_overhead_bytes(gguf: GgufFile, *, num_ctx: int = 4096, n_batch: int = 512) -> int:
    """Estimate what a runner takes of a host's memory beside weights and cache."""
    return _PROCESS_BYTES + _BYTES_PER_TOKEN * _n_vocab(gguf) + _layer_bytes(gguf, num_ctx, n_batch)


def _layer_bytes(gguf: GgufFile, num_ctx: int, n_batch: int) -> int:
    """Compute the largest that one layer's graph needs: four states and three of the feed-forward network's width."""
    width = max(per_layer(gguf, "feed_forward_length", default=0), default=0)
    used = positive(gguf, "expert_used_count", 1)
    width = max(width, used * positive(gguf, "expert_feed_forward_length", 0))
    is_encoder = gguf.value("attention.causal") is False
    states, widths = (3, 1) if is_encoder else (4, 3)
    mask = _MASK_BYTES * (n_batch if is_encoder else _padded(num_ctx))
    return n_batch * (_FLOAT_BYTES * (states * embedding_length(gguf) + widths * width) + mask)


def _n_vocab(gguf: GgufFile) -> int:
    found = next((tensor for tensor in gguf.tensors if tensor.name == "token_embd.weight"), None)
    return found.shape[1] if found is not None and len(found.shape) > 1 else 0


def _windows(gguf: GgufFile) -> tuple[bool, ...]:
    """Tell for each layer whether it sees a window only."""
    layers = n_layers(gguf)
    if not gguf.integer("attention.sliding_window"):
        return (False,) * layers
    named = gguf.value("attention.sliding_window_pattern")
    if isinstance(named, tuple):
        return tuple(bool(one) for one in named[:layers]) + (False,) * (layers - len(named))
    every = named if isinstance(named, int) and named > 0 else _WINDOW_PATTERNS.get(gguf.architecture, 1)
    return tuple(index % every < every - 1 for index in range(layers))


def _state_bytes(gguf: GgufFile) -> int:
    """Compute the state of one recurrent layer, kept at 32 bits."""
    wkv = positive(gguf, "wkv.head_size", 0)
    if wkv:
        return _FLOAT_BYTES * embedding_length(gguf) * (positive(gguf, "token_shift_count", 2) + wkv)
    inner, state = positive(gguf, "ssm.inner_size", 0), positive(gguf, "ssm.state_size", 0)
    history = positive(gguf, "ssm.conv_kernel", 1) - 1
    convolution = history * (inner + 2 * positive(gguf, "ssm.group_count", 0) * state)
    short = (positive(gguf, "shortconv.l_cache", 1) - 1) * embedding_length(gguf)
    return _FLOAT_BYTES * (convolution + inner * state + short)


def _size(n_elements: int, kind: str) -> int:
    block_bytes, block_elements = _BYTES[kind]
    return n_elements * block_bytes // block_elements


def _padded(num_ctx: int) -> int:
    return -(-num_ctx // _CACHE_PADDING) * _CACHE_PADDING
