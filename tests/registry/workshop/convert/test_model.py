"""Safetensors folders to GGUF: the tensors of known models byte for byte, and models that llama.cpp loads."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.errors import ConversionFailed
from actors.messages.model import LoadPlan
from registry.create import CreateRequest, create
from registry.gguf import read_gguf
from registry.store import Store
from runners.llama.binding import start_backend
from runners.llama.model import Model
from tests.support.safetensors import (
    Tensors,
    metadata_of,
    tensors_of,
    unmade_llama,
    write_byte_level_tokenizer,
    write_safetensors,
)

pytestmark = [pytest.mark.model, pytest.mark.processes]

HIDDEN, HEADS, KV_HEADS, WIDE, LAYERS, TOKENS = 64, 4, 2, 96, 2, 608


def _made(store: Store, folder: Path, **fields: Any) -> list[str]:
    files = {str(path.relative_to(folder)): store.blobs.add_file(path) for path in folder.rglob("*") if path.is_file()}
    return [step.status for step in create(store, CreateRequest(model="made", files=files, **fields))]


def _loaded(store: Store) -> Model:
    start_backend()
    return Model(str(store.resolve("made").weights_path), LoadPlan(num_ctx=64, n_slots=1))


def test_convert_llama_gives_the_tensors_and_tokens_of_the_original(
    store: Store, tiny_gguf: Path, tmp_path: Path
) -> None:
    """A model taken apart and converted again is the same model: tensors, vocabulary, template, parameters."""
    original = unmade_llama(tiny_gguf, tmp_path)
    statuses = _made(store, tmp_path)
    assert "converting model" in statuses
    made = store.resolve("made")
    converted, known = read_gguf(made.weights_path), metadata_of(made.weights_path)
    before, after = tensors_of(tiny_gguf), tensors_of(made.weights_path)
    assert set(before) == set(after)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert {tensor.name: tensor.type_name for tensor in converted.tensors} == {
        tensor.name: tensor.type_name for tensor in original.tensors
    }
    differing = {
        key: (value, known.get(key)) for key, value in metadata_of(tiny_gguf).items() if known.get(key) != value
    }
    assert set(differing) <= {"general.name", "general.description", "general.license"}
    assert (made.config.model_family, made.config.file_type, made.config.model_type) == ("llama", "F16", "2.00M")


def test_convert_and_quantize_in_one_go(store: Store, tiny_gguf: Path, tmp_path: Path) -> None:
    """What was converted is quantized, and only the result is kept in the manifest."""
    unmade_llama(tiny_gguf, tmp_path)
    statuses = _made(store, tmp_path, quantize="q8_0")
    assert statuses.index("converting model") < statuses.index("quantizing F16 model to Q8_0")
    made = store.resolve("made")
    assert made.config.file_type == "Q8_0"
    assert len(made.manifest.layers) == 1


@pytest.mark.parametrize(
    ("architecture", "family", "fields", "norms"),
    [
        ("MistralForCausalLM", "llama", {}, ()),
        ("Qwen2ForCausalLM", "qwen2", {}, ()),
        ("Qwen3ForCausalLM", "qwen3", {"head_dim": 32}, ("self_attn.q_norm", "self_attn.k_norm")),
        ("GemmaForCausalLM", "gemma", {"head_dim": 32}, ()),
        (
            "Gemma2ForCausalLM",
            "gemma2",
            {"head_dim": 32, "sliding_window": 32, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
            ("pre_feedforward_layernorm", "post_feedforward_layernorm"),
        ),
        (
            "Gemma3ForCausalLM",
            "gemma3",
            {"head_dim": 32, "sliding_window": 32, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
            ("self_attn.q_norm", "self_attn.k_norm", "pre_feedforward_layernorm", "post_feedforward_layernorm"),
        ),
    ],
)  # fmt: skip
def test_convert_architecture_is_loaded_by_llama_cpp(  # noqa: PLR0917 - a fixture more than is usual
    store: Store, tiny_gguf: Path, tmp_path: Path, architecture: str, family: str, fields: Mapping[str, Any],
    norms: tuple[str, ...],
) -> None:  # fmt: skip
    """A small model of random weights, in BF16: every tensor has its place, llama.cpp loads it and knows its tokens."""
    _write_folder(tmp_path, tiny_gguf, architecture, fields, norms)
    _made(store, tmp_path)
    made = store.resolve("made")
    assert (made.config.model_family, made.config.file_type) == (family, "BF16")
    model = _loaded(store)
    assert model.n_vocab == TOKENS
    assert model.tokenize("<|im_start|>Hello", add_special=False)[1:] == model.tokenize("Hello", add_special=False)
    model.close()


def test_convert_gemma_adds_one_to_its_norms(store: Store, tiny_gguf: Path, tmp_path: Path) -> None:
    """What gemma's code adds when it runs is in the file."""
    _write_folder(tmp_path, tiny_gguf, "GemmaForCausalLM", {"head_dim": 32}, ())
    _made(store, tmp_path)
    found = tensors_of(store.resolve("made").weights_path)
    assert np.allclose(found["output_norm.weight"], 1.5)


def test_convert_bert_gives_the_tensors_of_the_original(store: Store, minilm_gguf: Path, tmp_path: Path) -> None:
    """MiniLM taken apart and converted again has the same bytes and pools as before."""
    _write_bert_folder(tmp_path, minilm_gguf)
    _made(store, tmp_path)
    made = store.resolve("made").weights_path
    before, after = tensors_of(minilm_gguf), tensors_of(made)
    assert set(before) == set(after)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    original, converted = metadata_of(minilm_gguf), metadata_of(made)
    described = {key for key in original if key.startswith(("bert.", "tokenizer.ggml."))} - {
        "tokenizer.ggml.pre"  # chooses nothing among word pieces
    }
    assert {key: converted.get(key) for key in described} == {key: original[key] for key in described}
    model = _loaded(store)
    reference = Model(str(minilm_gguf), LoadPlan(num_ctx=64, n_slots=1))
    for text in ("Why is the sky blue?", "Été 42 世界, naïve re-embedding!", "", "x" * 200):
        assert model.tokenize(text, add_special=True) == reference.tokenize(text, add_special=True)
    model.close()
    reference.close()


@pytest.mark.parametrize("lowercase", [True, False])
def test_convert_bert_keeps_case_where_the_original_does(
    store: Store, minilm_gguf: Path, tmp_path: Path, *, lowercase: bool
) -> None:
    """Cased models see capitals as what they are; llama.cpp makes everything lower-case unless told."""
    _write_bert_folder(tmp_path, minilm_gguf)
    path = tmp_path / "tokenizer.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, "normalizer": {"type": "BertNormalizer", "lowercase": lowercase}}))
    shutil.rmtree(tmp_path / "1_Pooling")
    _made(store, tmp_path)
    made = read_gguf(store.resolve("made").weights_path)
    assert made.metadata["tokenizer.ggml.normalizer.lowercase"] is lowercase
    assert made.value("pooling_type") == 1, "without a word about it, the mean"
    model = _loaded(store)
    assert (model.tokenize("SKY", add_special=True) == model.tokenize("sky", add_special=True)) is lowercase
    model.close()


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_convert_gemma_that_sees_becomes_one_of_text(
    store: Store, tiny_gguf: Path, tmp_path: Path, prefix: str
) -> None:
    """Its text part is whole, under both ways to name it, with what its configuration leaves out; the rest is told."""
    norms = ("self_attn.q_norm", "self_attn.k_norm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
    _write_folder(
        tmp_path, tiny_gguf, "Gemma3ForConditionalGeneration", {"head_dim": 256, "sliding_window": 32}, norms,
        prefix=prefix, others={"vision_tower.x": (4, 4)},
    )  # fmt: skip
    config = json.loads((tmp_path / "config.json").read_text())
    text = {key: config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "sliding_window")}
    text |= {"num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS}
    (tmp_path / "config.json").write_text(json.dumps({"architectures": config["architectures"], "text_config": text}))
    statuses = _made(store, tmp_path)
    assert any(status.startswith("what sees is left out") for status in statuses)
    made = read_gguf(store.resolve("made").weights_path)
    assert made.integer("attention.key_length") == 256
    assert (made.value("rope.freq_base"), made.integer("context_length")) == (1e6, 131072)
    _loaded(store).close()


def test_convert_bare_model_is_converted_like_a_whole_one(store: Store, tiny_gguf: Path, tmp_path: Path) -> None:
    """Embedding models are often saved without the head, and then without `model.` before each name."""
    _write_folder(tmp_path, tiny_gguf, "Qwen3ForCausalLM", {"head_dim": 32}, ("self_attn.q_norm", "self_attn.k_norm"))
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content.replace(b'"model.', b'      "'))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_lasttoken": True}))
    _made(store, tmp_path)
    assert read_gguf(store.resolve("made").weights_path).value("pooling_type") == 3
    _loaded(store).close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"config.json": b"{}"}, 'unsupported architecture "unknown"'),
        ({"config.json": b"["}, "config.json is no JSON"),
        ({"config.json": None}, "config.json is missing"),
        ({"tokenizer.json": None}, "tokenizer.json is missing"),
        ({"tokenizer.json": b'{"model": {"type": "Unigram"}}'}, "send tokenizer.model along"),
        ({"tokenizer.model": b"\xff\xff\xff"}, "tokenizer.model is no SentencePiece model"),
        ({"model.safetensors": b"\x00" * 20}, "model.safetensors is no safetensors file"),
        ({"model.safetensors": b"\x04" + b"\x00" * 7 + b"abcd"}, "the header of model.safetensors cannot be read"),
        (
            {"model.safetensors": b"\x38" + b"\0" * 7 + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}  '},
            "the tensor a lies outside its file",
        ),
    ],
)
def test_convert_damaged_folder_is_refused_by_name(
    store: Store, tiny_gguf: Path, tmp_path: Path, change: dict[str, bytes | None], reason: str
) -> None:
    """Which file is at fault and what is wrong with it; nothing is left behind."""
    unmade_llama(tiny_gguf, tmp_path)
    for name, content in change.items():
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(ConversionFailed) as caught:
        _made(store, tmp_path)
    assert reason in caught.value.message
    assert [path.name for path in store.blobs.folder.iterdir() if len(path.name) != 71] == []


def _write_folder(
    folder: Path, tokenizer: Path, architecture: str, fields: Mapping[str, Any], norms: tuple[str, ...], *,
    prefix: str = "model.", others: Mapping[str, tuple[int, ...]] | None = None,
) -> None:  # fmt: skip
    config = {
        "architectures": [architecture],
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-6,
        "vocab_size": TOKENS,
        "rope_theta": 10000.0,
        **fields,
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_byte_level_tokenizer(folder, tokenizer)
    head = int(config.get("head_dim", HIDDEN // HEADS))
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (TOKENS, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        inner: dict[str, tuple[int, ...]] = {
            "input_layernorm": (HIDDEN,),
            "post_attention_layernorm": (HIDDEN,),
            "self_attn.q_proj": (HEADS * head, HIDDEN),
            "self_attn.k_proj": (KV_HEADS * head, HIDDEN),
            "self_attn.v_proj": (KV_HEADS * head, HIDDEN),
            "self_attn.o_proj": (HIDDEN, HEADS * head),
            "mlp.gate_proj": (WIDE, HIDDEN),
            "mlp.up_proj": (WIDE, HIDDEN),
            "mlp.down_proj": (HIDDEN, WIDE),
            **{name: (head,) if "self_attn" in name else (HIDDEN,) for name in norms},
        }
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in inner.items()}
        if architecture == "Qwen2ForCausalLM":
            shapes |= {
                f"model.layers.{layer}.self_attn.{one}_proj.bias": inner[f"self_attn.{one}_proj"][:1] for one in "qkv"
            }
    shapes = {name.replace("model.", prefix, 1): shape for name, shape in shapes.items()} | dict(others or {})
    random = np.random.default_rng(0)
    tensors = {
        name: np.full(shape, 0.5, np.float32) if "norm" in name else random.normal(0, 0.1, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    write_safetensors(
        folder / "model.safetensors",
        {name: (one.view(np.uint32) >> 16).astype(np.uint16) for name, one in tensors.items()},
    )


_BERT_NAMES = {
    "token_embd_norm": "embeddings.LayerNorm",
    "position_embd": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "token_embd": "embeddings.word_embeddings",
    "attn_output_norm": "attention.output.LayerNorm",
    "attn_output": "attention.output.dense",
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "layer_output_norm": "output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
}


def _write_bert_folder(folder: Path, source: Path) -> None:
    model = metadata_of(source)
    tensors: Tensors = {}
    for name, values in tensors_of(source).items():
        *layer, inner, kind = name.split(".")
        prefix = f"encoder.layer.{layer[1]}." if layer else ""
        tensors[f"{prefix}{_BERT_NAMES[inner]}.{kind}"] = values.astype(np.float32)
    tensors["embeddings.position_ids"] = np.arange(512, dtype=np.int64)
    write_safetensors(folder / "model.safetensors", tensors)
    config = {
        "architectures": ["BertModel"],
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "max_position_embeddings": 512,
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
        "vocab_size": 30522,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    tokens, types = model["tokenizer.ggml.tokens"], model["tokenizer.ggml.token_type"]
    plain = [_word_piece(str(token), kind == 3) for token, kind in zip(tokens, types, strict=True)]
    special = {
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }
    begin, end = {"SpecialToken": {"id": "[CLS]"}}, {"SpecialToken": {"id": "[SEP]"}}
    description = {
        "model": {"type": "WordPiece", "vocab": {token: index for index, token in enumerate(plain)}},
        "added_tokens": [{"id": plain.index(text), "content": text, "special": True} for text in special.values()],
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, {"Sequence": {"id": "A"}}, end],
            "pair": [begin, {"Sequence": {"id": "A"}}, end, {"Sequence": {"id": "B"}}, end],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(description))
    (folder / "tokenizer_config.json").write_text(json.dumps(special))


def _word_piece(token: str, is_special: bool) -> str:  # noqa: FBT001 - what the file says
    if is_special:
        return token
    return token[1:] if token.startswith("\u2581") else f"##{token}"
