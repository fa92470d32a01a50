"""One LoRA adapter: pairs of low-rank matrices under the names of the tensors that they change.

An adapter does not say for which architecture it is; the GGUF that it shall be used with does.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import gguf

from actors.errors import ConversionFailed
from registry import estimate
from registry.gguf import GgufFile, read_gguf
from registry.workshop.bench import Tell
from registry.workshop.convert.architectures import heads_of, permuted
from registry.workshop.convert.configuration import Configuration
from registry.workshop.convert.folder import Folder
from registry.workshop.convert.order import ConvertOrder
from registry.workshop.convert.weights import Stored, stored_tensors

_ARCHITECTURES = {"llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"}
_SUFFIXES = (".weight",)
_MATRIX_DIMENSIONS = 2


@dataclass(slots=True)
class _Pair:
    """The two matrices of one tensor, by their letters."""

    parts: dict[str, Stored] = field(default_factory=dict)


def convert_adapter(folder: Folder, order: ConvertOrder, tell: Tell) -> None:
    """Convert an adapter.

    Raises:
        ConversionFailed: a file is missing or damaged, or the adapter is not for such a model.
    """
    base = read_gguf(Path(order.base))
    if base.architecture not in _ARCHITECTURES:
        raise ConversionFailed(f'unsupported architecture "{base.architecture}": convert the adapter with llama.cpp')
    config = Configuration(folder.json("adapter_config.json", needed=True))
    pairs = _pairs(stored_tensors(folder.matching("**/*.safetensors")))
    arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == base.architecture)
    names = gguf.get_tensor_name_map(arch, max(estimate.n_layers(base), 1))
    writer = gguf.GGUFWriter(Path(order.target), base.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(order.name)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, _alpha(config))
    heads = _heads(base)
    for done, (name, pair) in enumerate(sorted(pairs.items()), start=1):
        new_name = names.get_name(name, try_suffixes=_SUFFIXES)
        if new_name is None or new_name not in {tensor.name for tensor in base.tensors}:
            raise ConversionFailed(f"the adapter changes {name}, which the model does not have")
        _add(writer, new_name, pair, heads_of(name, heads) if base.architecture == "llama" else 0)
        tell(done, len(pairs))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _pairs(stored: dict[str, Stored]) -> dict[str, _Pair]:
    pairs: dict[str, _Pair] = {}
    for name, one in stored.items():
        plain = name.removeprefix("base_model.model.")
        for letter in ("A", "B"):
            if plain.endswith(f".lora_{letter}.weight"):
                target = plain.removesuffix(f".lora_{letter}.weight") + ".weight"
                pairs.setdefault(target, _Pair()).parts[letter] = one
                break
        else:
            raise ConversionFailed(f"the tensor {name} is no part of a LoRA adapter: only lora_A and lora_B are")
    if not pairs:
        raise ConversionFailed("the adapter has no tensors")
    return pairs


def _alpha(config: Configuration) -> float:
    """Give the strength that llama.cpp divides by the rank; rank-stabilised adapters divide by its root instead."""
    alpha = config.number("lora_alpha")
    return alpha * math.sqrt(config.integer("r")) if config.get("use_rslora") is True else alpha


def _heads(base: GgufFile) -> Configuration:
    return Configuration(
        {
            "num_attention_heads": base.integer("attention.head_count"),
            "num_key_value_heads": base.integer("attention.head_count_kv"),
        }
    )


def _add(writer: gguf.GGUFWriter, name: str, pair: _Pair, n_heads: int) -> None:
    if len(pair.parts) < _MATRIX_DIMENSIONS:
        raise ConversionFailed(f"the adapter has only one of two matrices for {name}")
    down, up = pair.parts["A"].load(), pair.parts["B"].load()
    if len(down.shape) != _MATRIX_DIMENSIONS or len(up.shape) != _MATRIX_DIMENSIONS or down.shape[0] != up.shape[1]:
        raise ConversionFailed(f"the adapter's matrices for {name} do not fit each other: {down.shape} and {up.shape}")
    if n_heads:
        up = permuted(up, n_heads)
    writer.add_tensor(f"{name}.lora_a", down.float32())
    writer.add_tensor(f"{name}.lora_b", up.float32())
