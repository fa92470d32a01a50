"""Encoders of some thousand random weights, written in a moment: such as pool, and such as rank."""

import dataclasses
from pathlib import Path

import gguf
import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """The shape of an encoder, and the type of its matrices."""

    width: int
    context_tokens: int
    n_layers: int
    n_heads: int
    feed_forward: int
    matrix_type: type[np.floating]


TINY = Size(width=32, context_tokens=128, n_layers=2, n_heads=4, feed_forward=64, matrix_type=np.float32)
MINILM = Size(width=384, context_tokens=512, n_layers=6, n_heads=12, feed_forward=1536, matrix_type=np.float16)
"""That of all-MiniLM-L6-v2 in F16."""
WIDTH, CONTEXT_TOKENS = TINY.width, TINY.context_tokens
_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_TOKENS = [*_SPECIALS, *(f"\u2581{letter}" for letter in _LETTERS), *_LETTERS]


def write_tiny_bert(
    path: Path, pooling: gguf.PoolingType = gguf.PoolingType.MEAN, *, seed: int = 1, size: Size = TINY
) -> Path:
    """Write an encoder whose tokens are letters; with `PoolingType.RANK` it has a classifier of one output."""
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(size.context_tokens)
    writer.add_embedding_length(size.width)
    writer.add_feed_forward_length(size.feed_forward)
    writer.add_block_count(size.n_layers)
    writer.add_head_count(size.n_heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(value=False)
    writer.add_pooling_type(pooling)
    _add_vocabulary(writer)
    random = np.random.default_rng(seed)
    for name, shape in _shapes(size, with_classifier=pooling is gguf.PoolingType.RANK).items():
        is_norm = name.endswith("norm.weight")
        values = np.ones(shape) if is_norm else random.normal(scale=0.4, size=shape)
        is_matrix = len(shape) > 1 and name.startswith("blk.")
        writer.add_tensor(name, values.astype(size.matrix_type if is_matrix else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: gguf.GGUFWriter) -> None:
    kinds = [gguf.TokenType.CONTROL] * len(_SPECIALS)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list(_TOKENS)
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * (len(_TOKENS) - len(_SPECIALS))])
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_sep_token_id(3)
    writer.add_add_bos_token(value=True)
    writer.add_add_eos_token(value=True)
    writer.add_add_sep_token(value=False)


def _shapes(size: Size, *, with_classifier: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(_TOKENS), size.width),
        "token_types.weight": (2, size.width),
        "position_embd.weight": (size.context_tokens, size.width),
        "token_embd_norm.weight": (size.width,),
        "token_embd_norm.bias": (size.width,),
    }
    for layer in range(size.n_layers):
        square = ("attn_q", "attn_k", "attn_v", "attn_output")
        matrices = dict.fromkeys(square, (size.width, size.width)) | {
            "ffn_up": (size.feed_forward, size.width),
            "ffn_down": (size.width, size.feed_forward),
        }
        for part, shape in matrices.items():
            shapes[f"blk.{layer}.{part}.weight"] = shape
            shapes[f"blk.{layer}.{part}.bias"] = shape[:1]
        for part in ("attn_output_norm", "layer_output_norm"):
            shapes[f"blk.{layer}.{part}.weight"] = (size.width,)
            shapes[f"blk.{layer}.{part}.bias"] = (size.width,)
    if with_classifier:
        shapes |= {"cls.output.weight": (1, size.width), "cls.output.bias": (1,)}
    return shapes
