"""Encoders of some thousand random weights, written in a moment: such as pool, and such as rank."""

from pathlib import Path

import gguf
import numpy as np

WIDTH = 32
CONTEXT_TOKENS = 128
_LAYERS = 2
_HEADS = 4
_FEED_FORWARD = 64
_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_TOKENS = [*_SPECIALS, *(f"\u2581{letter}" for letter in _LETTERS), *_LETTERS]


def write_tiny_bert(path: Path, pooling: gguf.PoolingType = gguf.PoolingType.MEAN, *, seed: int = 1) -> Path:
    """Write an encoder whose tokens are letters; with `PoolingType.RANK` it has a classifier of one output."""
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_block_count(_LAYERS)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(value=False)
    writer.add_pooling_type(pooling)
    _add_vocabulary(writer)
    random = np.random.default_rng(seed)
    for name, shape in _shapes(with_classifier=pooling is gguf.PoolingType.RANK).items():
        is_norm = name.endswith("norm.weight")
        values = np.ones(shape) if is_norm else random.normal(scale=0.4, size=shape)
        writer.add_tensor(name, values.astype(np.float32))
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


def _shapes(*, with_classifier: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(_TOKENS), WIDTH),
        "token_types.weight": (2, WIDTH),
        "position_embd.weight": (CONTEXT_TOKENS, WIDTH),
        "token_embd_norm.weight": (WIDTH,),
        "token_embd_norm.bias": (WIDTH,),
    }
    for layer in range(_LAYERS):
        square = ("attn_q", "attn_k", "attn_v", "attn_output")
        matrices = dict.fromkeys(square, (WIDTH, WIDTH)) | {
            "ffn_up": (_FEED_FORWARD, WIDTH),
            "ffn_down": (WIDTH, _FEED_FORWARD),
        }
        for part, shape in matrices.items():
            shapes[f"blk.{layer}.{part}.weight"] = shape
            shapes[f"blk.{layer}.{part}.bias"] = shape[:1]
        for part in ("attn_output_norm", "layer_output_norm"):
            shapes[f"blk.{layer}.{part}.weight"] = (WIDTH,)
            shapes[f"blk.{layer}.{part}.bias"] = (WIDTH,)
    if with_classifier:
        shapes |= {"cls.output.weight": (1, WIDTH), "cls.output.bias": (1,)}
    return shapes
