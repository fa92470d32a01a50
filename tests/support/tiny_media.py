"""Projectors of some thousand random weights, and a text model that counts positions in two dimensions.

Two architectures of images and one of sound: a fixed square whose patches count up one by one (LLaVA), any size with
positions in rows and columns (Qwen2-VL), and thirty seconds of speech (Ultravox).
"""

from pathlib import Path

import gguf
import numpy as np

LLAVA_IMAGE_TOKENS = 16
_SIDE, _PATCH = 56, 14
_WIDTH, _HEADS, _LAYERS, _FEED_FORWARD = 64, 4, 2, 128
_TEXT_WIDTH = 64
_MEL_BINS, _FRAMES, _STACK = 80, 1500, 32

Shapes = dict[str, tuple[int, ...]]


def write_llava_projector(path: Path, *, text_width: int) -> Path:
    """Write a projector that turns any image into `LLAVA_IMAGE_TOKENS` embeddings."""
    writer = gguf.GGUFWriter(path, "clip")
    _add_vision(writer, "mlp", text_width)
    n_patches = (_SIDE // _PATCH) ** 2
    shapes = {
        "v.class_embd": (_WIDTH,),
        "v.patch_embd.weight": (_WIDTH, 3, _PATCH, _PATCH),
        "v.position_embd.weight": (n_patches + 1, _WIDTH),
        **_pair("v.pre_ln", (_WIDTH,)),
        **_blocks("v"),
        **_pair("mm.0", (text_width, _WIDTH)),
        **_pair("mm.2", (text_width, text_width)),
    }
    return _written(writer, path, shapes, seed=1)


def write_qwen_projector(path: Path) -> Path:
    """Write a projector for `write_qwen_text`, with an embedding for each 28 x 28 pixels."""
    writer = gguf.GGUFWriter(path, "clip")
    _add_vision(writer, "qwen2vl_merger", _TEXT_WIDTH)
    merged = 4 * _WIDTH
    shapes = {
        "v.patch_embd.weight": (_WIDTH, 3, _PATCH, _PATCH),
        "v.patch_embd.weight.1": (_WIDTH, 3, _PATCH, _PATCH),
        **_pair("v.post_ln", (_WIDTH,)),
        **_blocks("v"),
        **_pair("mm.0", (merged, merged)),
        **_pair("mm.2", (_TEXT_WIDTH, merged)),
    }
    return _written(writer, path, shapes, seed=2)


def write_speech_projector(path: Path, *, text_width: int) -> Path:
    """Write a projector that turns each thirty seconds of sound into some fifty embeddings."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_audio_encoder", val=True)
    writer.add_string("clip.projector_type", "ultravox")
    _add_encoder(writer, "audio", text_width)
    writer.add_uint32("clip.audio.num_mel_bins", _MEL_BINS)
    writer.add_uint32("clip.audio.projector.stack_factor", _STACK)
    shapes = {
        "a.conv1d.1.weight": (_WIDTH, _MEL_BINS, 3),
        "a.conv1d.1.bias": (_WIDTH, 1),
        "a.conv1d.2.weight": (_WIDTH, _WIDTH, 3),
        "a.conv1d.2.bias": (_WIDTH, 1),
        "a.position_embd.weight": (_FRAMES, _WIDTH),
        **_pair("a.post_ln", (_WIDTH,)),
        **{name: shape for name, shape in _blocks("a").items() if not name.endswith("attn_k.bias")},
        "mm.a.norm_pre.weight": (_WIDTH * _STACK,),
        "mm.a.norm_mid.weight": (_FEED_FORWARD,),
        "mm.a.mlp.1.weight": (2 * _FEED_FORWARD, _WIDTH * _STACK),
        "mm.a.mlp.2.weight": (text_width, _FEED_FORWARD),
    }
    return _written(writer, path, shapes, seed=3)


def write_qwen_text(path: Path, vocabulary: Path) -> Path:
    """Write a text model with positions in several dimensions and the tokenizer of another file."""
    source = gguf.GGUFReader(vocabulary)
    tokens = source.fields["tokenizer.ggml.tokens"].contents()
    writer = gguf.GGUFWriter(path, "qwen2vl")
    writer.add_context_length(2048)
    writer.add_embedding_length(_TEXT_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_sections([4, 2, 2, 0])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(source.fields["tokenizer.ggml.token_type"].contents())
    writer.add_token_merges(source.fields["tokenizer.ggml.merges"].contents())
    writer.add_eos_token_id(source.fields["tokenizer.ggml.eos_token_id"].contents())
    shapes: Shapes = {
        "token_embd.weight": (len(tokens), _TEXT_WIDTH),
        "output_norm.weight": (_TEXT_WIDTH,),
        "output.weight": (len(tokens), _TEXT_WIDTH),
    }
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v"):
            shapes |= _pair(f"{block}.{part}", (_TEXT_WIDTH, _TEXT_WIDTH))
        shapes |= {
            f"{block}.attn_norm.weight": (_TEXT_WIDTH,),
            f"{block}.attn_output.weight": (_TEXT_WIDTH, _TEXT_WIDTH),
            f"{block}.ffn_norm.weight": (_TEXT_WIDTH,),
            f"{block}.ffn_gate.weight": (_FEED_FORWARD, _TEXT_WIDTH),
            f"{block}.ffn_up.weight": (_FEED_FORWARD, _TEXT_WIDTH),
            f"{block}.ffn_down.weight": (_TEXT_WIDTH, _FEED_FORWARD),
        }
    return _written(writer, path, shapes, seed=4)


def _add_vision(writer: gguf.GGUFWriter, projector: str, text_width: int) -> None:
    writer.add_bool("clip.has_vision_encoder", val=True)
    writer.add_string("clip.projector_type", projector)
    _add_encoder(writer, "vision", text_width)
    writer.add_uint32("clip.vision.image_size", _SIDE)
    writer.add_uint32("clip.vision.patch_size", _PATCH)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    writer.add_bool("clip.use_gelu", val=True)


def _add_encoder(writer: gguf.GGUFWriter, kind: str, text_width: int) -> None:
    writer.add_uint32(f"clip.{kind}.embedding_length", _WIDTH)
    writer.add_uint32(f"clip.{kind}.feed_forward_length", _FEED_FORWARD)
    writer.add_uint32(f"clip.{kind}.block_count", _LAYERS)
    writer.add_uint32(f"clip.{kind}.projection_dim", text_width)
    writer.add_uint32(f"clip.{kind}.attention.head_count", _HEADS)
    writer.add_float32(f"clip.{kind}.attention.layer_norm_epsilon", 1e-5)


def _pair(name: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _blocks(prefix: str) -> Shapes:
    shapes: Shapes = {}
    for layer in range(_LAYERS):
        block = f"{prefix}.blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            shapes |= _pair(f"{block}.{part}", (_WIDTH, _WIDTH))
        for part in ("ln1", "ln2"):
            shapes |= _pair(f"{block}.{part}", (_WIDTH,))
        shapes |= _pair(f"{block}.ffn_up", (_FEED_FORWARD, _WIDTH))
        shapes |= _pair(f"{block}.ffn_down", (_WIDTH, _FEED_FORWARD))
    return shapes


def _written(writer: gguf.GGUFWriter, path: Path, shapes: Shapes, *, seed: int) -> Path:
    random = np.random.default_rng(seed)
    for name, shape in shapes.items():
        is_norm = len(shape) == 1 and name.endswith("weight")
        values = np.ones(shape) if is_norm else random.normal(scale=0.2, size=shape)
        kind = np.float16 if "patch_embd" in name or ("conv1d" in name and name.endswith("weight")) else np.float32
        writer.add_tensor(name, values.astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
