"""Models that are only headers: enough for the registry and the gateway, nothing that llama.cpp could load."""

from pathlib import Path

import gguf
import msgspec
import numpy as np

from registry.manifests import CONFIG, WEIGHTS, Layer, Manifest, ModelConfig
from registry.names import parse_name
from registry.store import Store

PLAIN_TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"


def write_chat_gguf(path: Path, *, template: str = PLAIN_TEMPLATE) -> None:
    """Write a model that chats, without tools or thinking unless its template has them."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(8192)
    writer.add_embedding_length(576)
    writer.add_block_count(30)
    writer.add_head_count(9)
    writer.add_head_count_kv(3)
    writer.add_chat_template(template)
    _finish(writer)


def write_embedding_gguf(path: Path) -> None:
    """Write a model that embeds."""
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(512)
    writer.add_embedding_length(384)
    writer.add_block_count(6)
    writer.add_head_count(12)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    _finish(writer)


def install(store: Store, name: str, weights: Path) -> None:
    """Install a GGUF file under a name."""
    digest = store.blobs.add_file(weights)
    content = msgspec.json.encode(
        ModelConfig(
            model_format="gguf", model_family="llama", model_families=("llama",), model_type="134.52M", file_type="Q4_1"
        )
    )
    config_digest, _ = store.blobs.add(content)
    layers = (Layer(WEIGHTS, digest, weights.stat().st_size),)
    store.write(parse_name(name), Manifest(config=Layer(CONFIG, config_digest, len(content)), layers=layers))


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.add_tensor("token_embd.weight", np.zeros((8, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
