"""Writing safetensors files, and taking GGUF models apart into the folders that they were made from."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from registry.gguf import GgufFile, LongArray, read_gguf

_DTYPES = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int64": "I64"}

Tensors = dict[str, npt.NDArray[Any]]


def write_safetensors(path: Path, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write tensors; 16-bit unsigned integers count as BF16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, values in tensors.items():
        header[name] = {
            "dtype": _DTYPES[values.dtype.name],
            "shape": list(values.shape),
            "data_offsets": [at, at + values.nbytes],
        }
        at += values.nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(np.ascontiguousarray(values).tobytes())


def tensors_of(path: Path) -> Tensors:
    """Read the tensors of an unquantized GGUF file."""
    return {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}


def unpermuted(values: npt.NDArray[Any], n_heads: int) -> npt.NDArray[Any]:
    """Undo what conversion does to the rows of query and key projections of the Llama family."""
    shape = values.shape
    return values.reshape(n_heads, shape[0] // n_heads // 2, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def metadata_of(path: Path) -> dict[str, Any]:
    """Read all metadata of a GGUF file, long arrays included."""
    metadata = read_gguf(path, long_arrays=True).metadata
    return {
        key: tuple(json.loads(value.json)) if isinstance(value, LongArray) else value for key, value in metadata.items()
    }


def unmade_llama(source: Path, folder: Path) -> GgufFile:
    """Write the folder that a Llama GGUF with a byte-level tokenizer could have been converted from."""
    model = read_gguf(source)
    n_heads, n_kv_heads = model.integer("attention.head_count") or 0, model.integer("attention.head_count_kv") or 0
    tensors = {}
    for name, values in tensors_of(source).items():
        undone = unpermuted(values, n_heads) if name.endswith("attn_q.weight") else values
        undone = unpermuted(values, n_kv_heads) if name.endswith("attn_k.weight") else undone
        tensors[_llama_name(name)] = undone
    write_safetensors(folder / "model.safetensors", tensors)
    rope = {"rope_theta": model.value("rope.freq_base")}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": model.integer("embedding_length"),
        "intermediate_size": model.integer("feed_forward_length"),
        "num_hidden_layers": model.integer("block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "max_position_embeddings": model.integer("context_length"),
        "rms_norm_eps": model.value("attention.layer_norm_rms_epsilon"),
        "vocab_size": model.integer("vocab_size"),
        **rope,
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_byte_level_tokenizer(folder, source)
    return model


def write_byte_level_tokenizer(folder: Path, source: Path) -> None:
    """Write the tokenizer files that a GGUF's vocabulary came from."""
    model = metadata_of(source)
    tokens, types = model["tokenizer.ggml.tokens"], model["tokenizer.ggml.token_type"]
    added = {index: kind for index, kind in enumerate(types) if kind != gguf.TokenType.NORMAL}
    description = {
        "model": {
            "type": "BPE",
            "vocab": {token: index for index, token in enumerate(tokens) if index not in added},
            "merges": list(model["tokenizer.ggml.merges"]),
        },
        "pre_tokenizer": {"type": "ByteLevel", "use_regex": True},
        "added_tokens": [
            {"id": index, "content": tokens[index], "special": kind == gguf.TokenType.CONTROL}
            for index, kind in added.items()
        ],
    }
    (folder / "tokenizer.json").write_text(json.dumps(description))
    bos, eos = model["tokenizer.ggml.bos_token_id"], model["tokenizer.ggml.eos_token_id"]
    settings = {
        "bos_token": tokens[bos],
        "eos_token": tokens[eos],
        "add_bos_token": False,
        "chat_template": model["tokenizer.chat_template"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _llama_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_INNER[parts[2]]}.weight"
    return f"{_TOP[parts[0]]}.weight"
