"""Text models of some thousand random weights, in memories other than a plain cache, with a tokenizer borrowed."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np

Shapes = dict[str, tuple[int, ...]]


def copy_with(source: Path, path: Path, **keys: int) -> Path:
    """Write a model again with more keys in its metadata."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    for name, value in keys.items():
        writer.add_uint32(name, value)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    return _closed(writer, path)


def add_vocabulary(writer: gguf.GGUFWriter, source: Path) -> int:
    """Give a model the tokenizer of another; return how many tokens it has."""
    fields = gguf.GGUFReader(source).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(fields["tokenizer.ggml.token_type"].contents())
    writer.add_token_merges(fields["tokenizer.ggml.merges"].contents())
    writer.add_eos_token_id(fields["tokenizer.ggml.eos_token_id"].contents())
    return len(tokens)


def written(writer: gguf.GGUFWriter, path: Path, tensors: dict[str, "np.ndarray[Any, Any]"]) -> Path:
    """Add tensors and write the file."""
    for name, values in tensors.items():
        writer.add_tensor(name, values.astype(np.float32))
    return _closed(writer, path)


def _closed(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


_WIDTH, _LAYERS, _FEED_FORWARD = 64, 2, 96
_HEADS, _STATE, _CONV = 4, 16, 4


def write_mamba(path: Path, vocabulary: Path) -> Path:
    """Write a model with nothing but a running state."""
    writer = gguf.GGUFWriter(path, "mamba")
    n_tokens = _add_common(writer, vocabulary)
    inner, rank = 2 * _WIDTH, 4
    _add_ssm(writer, inner=inner, rank=rank)
    shapes = _outer(n_tokens)
    for layer in range(_LAYERS):
        shapes |= {
            f"blk.{layer}.{name}": shape
            for name, shape in {
                "attn_norm.weight": (_WIDTH,),
                "ssm_in.weight": (2 * inner, _WIDTH),
                "ssm_conv1d.weight": (inner, _CONV),
                "ssm_conv1d.bias": (inner,),
                "ssm_x.weight": (rank + 2 * _STATE, inner),
                "ssm_dt.weight": (inner, rank),
                "ssm_dt.bias": (inner,),
                "ssm_a": (inner, _STATE),
                "ssm_d": (inner,),
                "ssm_out.weight": (_WIDTH, inner),
            }.items()
        }
    return written(writer, path, _random(shapes))


def write_falcon_h1(path: Path, vocabulary: Path) -> Path:
    """Write a hybrid: every layer has attention and a running state."""
    writer = gguf.GGUFWriter(path, "falcon-h1")
    n_tokens = _add_common(writer, vocabulary)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_freq_base(10000.0)
    inner = _WIDTH
    _add_ssm(writer, inner=inner, rank=_HEADS)
    writer.add_ssm_group_count(1)
    convolved = inner + 2 * _STATE
    shapes = _outer(n_tokens)
    for layer in range(_LAYERS):
        shapes |= {
            f"blk.{layer}.{name}": shape
            for name, shape in {
                "attn_norm.weight": (_WIDTH,),
                "ssm_in.weight": (inner + convolved + _HEADS, _WIDTH),
                "ssm_conv1d.weight": (convolved, _CONV),
                "ssm_conv1d.bias": (convolved,),
                "ssm_norm.weight": (1, inner),
                "ssm_dt.bias": (_HEADS,),
                "ssm_a": (_HEADS, 1),
                "ssm_d": (_HEADS, 1),
                "ssm_out.weight": (_WIDTH, inner),
                "ffn_norm": (_WIDTH,),
                **_attention(),
                **_feed_forward(),
            }.items()
        }
    return written(writer, path, _random(shapes))


def _add_common(writer: gguf.GGUFWriter, vocabulary: Path, *, n_layers: int = _LAYERS) -> int:
    writer.add_context_length(2048)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_block_count(n_layers)
    writer.add_layer_norm_rms_eps(1e-5)
    return add_vocabulary(writer, vocabulary)


def _add_ssm(writer: gguf.GGUFWriter, *, inner: int, rank: int) -> None:
    writer.add_ssm_conv_kernel(_CONV)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(_STATE)
    writer.add_ssm_time_step_rank(rank)


def _outer(n_tokens: int) -> Shapes:
    return {
        "token_embd.weight": (n_tokens, _WIDTH),
        "output_norm.weight": (_WIDTH,),
        "output.weight": (n_tokens, _WIDTH),
    }


def _attention() -> Shapes:
    return {f"attn_{part}.weight": (_WIDTH, _WIDTH) for part in ("q", "k", "v", "output")}


def _feed_forward() -> Shapes:
    return {
        "ffn_gate.weight": (_FEED_FORWARD, _WIDTH),
        "ffn_up.weight": (_FEED_FORWARD, _WIDTH),
        "ffn_down.weight": (_WIDTH, _FEED_FORWARD),
    }


def _random(shapes: Shapes, *, seed: int = 1) -> dict[str, "np.ndarray[Any, Any]"]:
    """Fill matrices so that activations keep their size, norms with ones, and let states decay slowly."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        values = random.normal(scale=shape[-1] ** -0.5, size=shape)
        if "norm" in name:
            values = np.ones(shape)
        elif name.endswith("ssm_a"):
            values = -np.exp(random.normal(scale=0.5, size=shape) - 1)
        elif name in {"token_embd.weight", "output.weight"}:
            values = random.normal(size=shape)
        tensors[name] = values
    return tensors


def write_predicting(path: Path, vocabulary: Path, *, reads: str) -> Path:
    """Write a mixture of experts with a layer that predicts the token after the next (GLM 4.5's architecture).

    Args:
        path: where to.
        vocabulary: whose tokenizer.
        reads: what the layer makes of its two inputs: from `token`, the one before, it predicts rightly, however often
            it is asked on; from the `state` before that it does so once; with `noise` it never does but by chance; with
            `nothing` the layer is announced and not there.
    """
    writer = gguf.GGUFWriter(path, "glm4moe")
    n_tokens = _add_common(writer, vocabulary, n_layers=_LAYERS + 1)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_uint32("glm4moe.nextn_predict_layers", 1)
    writer.add_leading_dense_block_count(_LAYERS)
    writer.add_expert_count(2)
    writer.add_expert_used_count(1)
    writer.add_expert_shared_count(1)
    writer.add_expert_feed_forward_length(_FEED_FORWARD)
    shapes = _outer(n_tokens)
    for layer in range(_LAYERS + 1):
        norms = {f"{name}.weight": (_WIDTH,) for name in ("attn_norm", "post_attention_norm")}
        own = _predicting_layer(n_tokens) if layer == _LAYERS else _feed_forward()
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in (norms | _attention() | own).items()}
    return written(writer, path, _foreseeable(_random(shapes), reads=reads))


def _predicting_layer(n_tokens: int) -> Shapes:
    experts = {"gate": (_FEED_FORWARD, _WIDTH), "up": (_FEED_FORWARD, _WIDTH), "down": (_WIDTH, _FEED_FORWARD)}
    return {
        "ffn_gate_inp.weight": (2, _WIDTH),
        "exp_probs_b.bias": (2,),
        **{f"ffn_{part}_exps.weight": (2, *shape) for part, shape in experts.items()},
        **{f"ffn_{part}_shexp.weight": shape for part, shape in experts.items()},
        "nextn.eh_proj.weight": (_WIDTH, 2 * _WIDTH),
        "nextn.enorm.weight": (_WIDTH,),
        "nextn.hnorm.weight": (_WIDTH,),
        "nextn.shared_head_norm.weight": (_WIDTH,),
        "nextn.shared_head_head.weight": (n_tokens, _WIDTH),
    }


def _foreseeable(tensors: dict[str, "np.ndarray[Any, Any]"], *, reads: str) -> dict[str, "np.ndarray[Any, Any]"]:
    """Let each token follow from the one before by a fixed order, nearly: layers add some noise to its embedding."""
    embedding = tensors["token_embd.weight"]
    for name in tensors:
        if "attn_output" in name or "ffn_down" in name:
            tensors[name] *= 0.05
    following = 1 + np.random.default_rng(7).permutation(len(embedding) - 1)
    order = np.arange(len(embedding))
    order[following] = np.roll(following, -1)  # one circle of all tokens but the first
    output = np.zeros_like(embedding)
    output[order] = embedding
    tensors["output.weight"] = output
    identity, nothing = np.eye(_WIDTH), np.zeros((_WIDTH, _WIDTH))
    layer = f"blk.{_LAYERS}.nextn."
    if reads == "nothing":
        return {name: values for name, values in tensors.items() if not name.startswith(f"blk.{_LAYERS}.")}
    if reads == "token":
        tensors[layer + "eh_proj.weight"] = np.concatenate([identity, nothing], axis=1)
        tensors[layer + "shared_head_head.weight"] = output
    elif reads == "state":
        twice = np.zeros_like(embedding)
        twice[order[order]] = embedding
        tensors[layer + "eh_proj.weight"] = np.concatenate([nothing, identity], axis=1)
        tensors[layer + "shared_head_head.weight"] = twice
    return tensors
