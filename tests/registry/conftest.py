"""Models, stores and recordings that the registry's tests share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from registry.store import Store

REPOSITORY = Path(__file__).parents[2]
SHARED = REPOSITORY.parent / "shared"

WriteGguf = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_gguf() -> Path:
    """A real model of 2M parameters with a Jinja template that has tools."""
    return REPOSITORY / "tests" / "data" / "tiny-chatml-tools.gguf"


@pytest.fixture
def minilm_gguf() -> Path:
    """A real model that embeds; skips where it is absent."""
    path = SHARED / "models" / "all-minilm-l6-v2-f16.gguf"
    if not path.is_file():
        pytest.skip("the model all-minilm-l6-v2-f16.gguf is not beside the repository")
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store that does not exist on disk yet."""
    return Store(tmp_path / "models")


@pytest.fixture
def write_gguf(tmp_path: Path) -> WriteGguf:
    """Write a small GGUF file: metadata by keyword (`llama__block_count` for `llama.block_count`), tensors by shape."""

    def write(
        name: str = "model.gguf",
        *,
        architecture: str = "llama",
        tensors: dict[str, tuple[int, ...]] | None = None,
        **metadata: Any,
    ) -> Path:
        path = tmp_path / name
        writer = gguf.GGUFWriter(path, architecture)
        for key, value in metadata.items():
            _add(writer, key.replace("__", "."), value)
        for tensor, shape in (tensors if tensors is not None else {"token_embd.weight": (4, 8)}).items():
            writer.add_tensor(tensor, np.zeros(shape, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def _add(writer: Any, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)


@pytest.fixture(scope="session")
def wire() -> dict[str, dict[str, Any]]:
    """Recorded exchanges with the reference server by name; skips where they are absent."""
    return {exchange["name"]: exchange for exchange in _recording("ollama-wire.json")["exchanges"]}


@pytest.fixture(scope="session")
def recorded_store() -> dict[str, Any]:
    """A store as the reference server wrote it; skips where it is absent."""
    return _recording("ollama-store.json")


@pytest.fixture
def ollama_store(tmp_path: Path, recorded_store: dict[str, Any], tiny_gguf: Path) -> Store:
    """The recorded store on disk; weights are stand-ins with the recorded metadata, since they were not recorded."""
    root = tmp_path / "ollama"
    for name, text in recorded_store["manifests"].items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "blobs").mkdir()
    for digest, text in recorded_store["blobs"].items():
        (root / "blobs" / digest.replace(":", "-")).write_text(text)
    smollm2 = root / "blobs" / "sha256-941f309b54caaad6747569ba43712bcde44a2be3bae16c3282ff499c37c54af5"
    _write_smollm2_stand_in(smollm2)
    tiny = root / "blobs" / "sha256-1e4192c7b68bdb4ec853c90d7d239705978ed6211f35234d178ca8f4248a637f"
    tiny.symlink_to(tiny_gguf)
    minilm = root / "blobs" / "sha256-1a1eb45a161e822e935ee4a439de707316af707f0915b523defc0a6ef6d9db9f"
    minilm.symlink_to(SHARED / "models" / "all-minilm-l6-v2-f16.gguf")
    return Store(root)


def _write_smollm2_stand_in(path: Path) -> None:
    """Write a header that counts as many parameters as SmolLM2; its tensor is a hole in the file."""
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in {
        "general.file_type": 3,
        "llama.block_count": 30,
        "llama.context_length": 8192,
        "llama.embedding_length": 576,
        "tokenizer.chat_template": "{{ messages[0].content }}",
    }.items():
        _add(writer, key, value)
    rows = 134_515_008 // 576
    writer.add_tensor_info("token_embd.weight", (rows, 576), np.dtype(np.float16), rows * 576 * 2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 64 + rows * 576 * 2)


def _recording(name: str) -> dict[str, Any]:
    path = SHARED / "data" / name
    if not path.is_file():
        pytest.skip(f"the recording {name} is not beside the repository")
    recording: dict[str, Any] = json.loads(path.read_text())
    return recording
