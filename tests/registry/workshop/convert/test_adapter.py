"""LoRA adapters of safetensors, for the model that they are created with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.errors import LlamactorError
from registry.create import CreateRequest, create
from registry.gguf import read_gguf
from registry.store import Store
from tests.support.safetensors import tensors_of, unpermuted, write_safetensors

pytestmark = pytest.mark.processes
RANK, WIDTH, HEADS = 4, 192, 6
_Q = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture
def base(store: Store, tiny_gguf: Path) -> str:
    """The tiny model, installed."""
    digest = store.blobs.add_file(tiny_gguf)
    list(create(store, CreateRequest(model="base", files={"tiny.gguf": digest})))
    return "base"


def _adapted(store: Store, folder: Path, tensors: dict[str, Any], **config: Any) -> list[str]:
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": 8, **config}))
    names = ("adapter_model.safetensors", "adapter_config.json")
    adapters = {name: store.blobs.add_file(folder / name) for name in names}
    return [step.status for step in create(store, CreateRequest(model="tuned", source="base", adapters=adapters))]


def _pair(name: str = _Q, rows: int = WIDTH) -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {
        f"{name}.lora_A.weight": random.normal(size=(RANK, WIDTH)).astype(np.float32),
        f"{name}.lora_B.weight": random.normal(size=(rows, RANK)).astype(np.float32),
    }


@pytest.mark.usefixtures("base")
def test_adapter_becomes_a_layer_in_llama_cpps_order(store: Store, tmp_path: Path) -> None:
    """The matrix of the query's output is permuted as the query itself was."""
    given = _pair()
    assert "converting adapter" in _adapted(store, tmp_path, given)
    (path,) = store.resolve("tuned").adapters
    adapter = read_gguf(path)
    assert adapter.metadata["general.type"] == "adapter"
    assert adapter.metadata["adapter.type"] == "lora"
    assert adapter.metadata["adapter.lora.alpha"] == 8.0
    found = tensors_of(path)
    assert np.array_equal(found["blk.0.attn_q.weight.lora_a"], given[f"{_Q}.lora_A.weight"])
    assert np.array_equal(unpermuted(found["blk.0.attn_q.weight.lora_b"], HEADS), given[f"{_Q}.lora_B.weight"])


@pytest.mark.usefixtures("base")
def test_adapter_rank_stabilised_has_its_strength_in_alpha(store: Store, tmp_path: Path) -> None:
    """llama.cpp divides by the rank, so the root of it goes into alpha."""
    _adapted(store, tmp_path, _pair(), use_rslora=True)
    (path,) = store.resolve("tuned").adapters
    assert read_gguf(path).metadata["adapter.lora.alpha"] == 16.0


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "the adapter has no tensors"),
        (_pair("base_model.model.model.layers.99.self_attn.q_proj"), "which the model does not have"),
        (_pair("base_model.model.wibble"), "which the model does not have"),
        ({f"{_Q}.lora_A.weight": np.zeros((RANK, WIDTH), np.float32)}, "only one of two matrices"),
        ({**_pair(), f"{_Q}.lora_B.weight": np.zeros((WIDTH, 3), np.float32)}, "do not fit each other"),
        ({**_pair(), f"{_Q}.weight": np.zeros((2, 2), np.float32)}, "is no part of a LoRA adapter"),
    ],
)
def test_adapter_that_does_not_fit_is_refused(
    store: Store, tmp_path: Path, tensors: dict[str, Any], reason: str
) -> None:
    """The tensor at fault is named."""
    with pytest.raises(LlamactorError) as caught:
        _adapted(store, tmp_path, tensors)
    assert reason in caught.value.message
