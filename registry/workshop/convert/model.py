"""One model: configuration, vocabulary and tensors written as a GGUF, one tensor in memory at a time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf.constants import GGMLQuantizationType as Type

from actors.errors import ConversionFailed
from registry.workshop.bench import Tell
from registry.workshop.convert.architectures import Recipe, recipe_for
from registry.workshop.convert.configuration import Configuration
from registry.workshop.convert.folder import Folder
from registry.workshop.convert.order import ConvertOrder
from registry.workshop.convert.vocabulary import Vocabulary, read_vocabulary
from registry.workshop.convert.weights import Stored, Tensor, stored_tensors

_PRECISE = {gguf.MODEL_TENSOR.POS_EMBD, gguf.MODEL_TENSOR.TOKEN_TYPES, gguf.MODEL_TENSOR.FFN_GATE_INP}
"""Matrices that stay at 32 bits."""
_SUFFIXES = (".weight", ".bias")
_QUANTIZATION_VERSION = 2
_POOLINGS = {
    "pooling_mode_mean_tokens": gguf.PoolingType.MEAN,
    "pooling_mode_cls_token": gguf.PoolingType.CLS,
    "pooling_mode_lasttoken": gguf.PoolingType.LAST,
}


@dataclass(frozen=True, slots=True)
class _Plan:
    """A tensor of the result: where it comes from and how it is stored."""

    name: str
    source: Stored | Tensor
    type: Type
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes in the result."""
        n_elements = 1
        for length in self.shape:
            n_elements *= length
        return n_elements * (4 if self.type is Type.F32 else 2)


def convert_model(folder: Folder, order: ConvertOrder, tell: Tell) -> None:
    """Convert a model.

    Raises:
        ConversionFailed: a file is missing or damaged, or the architecture is not known.
    """
    config = Configuration(folder.json("config.json", needed=True))
    recipe = recipe_for(config)
    config = config.of_text(recipe.defaults)
    stored = _without_parts(stored_tensors(folder.matching("**/*.safetensors")), recipe, tell)
    vocabulary = read_vocabulary(folder)
    n_rows = _n_rows(stored, recipe, vocabulary)
    vocabulary.cut_to(n_rows, drops_added=recipe.cuts_vocabulary)
    plans = _plans(stored, recipe, config, n_rows)
    bits = Type.BF16 if any(plan.type is Type.BF16 for plan in plans) else Type.F16
    writer = gguf.GGUFWriter(Path(order.target), gguf.MODEL_ARCH_NAMES[recipe.arch])
    _describe(writer, config, order.name, bits)
    _add_pooling(writer, folder, recipe)
    recipe.describe(config, writer)
    vocabulary.add_to(writer, folder)
    _write(writer, plans, recipe, config, tell)


def _without_parts(stored: dict[str, Stored], recipe: Recipe, tell: Tell) -> dict[str, Stored]:
    """Leave out the parts that are not converted, and say so."""
    kept = (
        {name: one for name, one in stored.items() if not name.startswith(recipe.left_out)}
        if recipe.left_out
        else stored
    )
    if len(kept) < len(stored):
        tell.note("what sees is left out: add the GGUF of its projector with a second FROM")
    return kept


def _describe(writer: gguf.GGUFWriter, config: Configuration, name: str, bits: Type) -> None:
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_block_count(config.n_layers)
    writer.add_context_length(config.integer("max_position_embeddings", 2048))
    writer.add_embedding_length(config.integer("hidden_size"))
    writer.add_feed_forward_length(config.integer("intermediate_size"))
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    if config.get("head_dim"):
        writer.add_key_length(config.head_length)
        writer.add_value_length(config.head_length)
    if config.get("rms_norm_eps") is not None:
        writer.add_layer_norm_rms_eps(config.number("rms_norm_eps"))
    if config.get("layer_norm_eps") is not None:
        writer.add_layer_norm_eps(config.number("layer_norm_eps"))
    _describe_rope(writer, Configuration(config.rope))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16 if bits is Type.BF16 else gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(_QUANTIZATION_VERSION)


def _describe_rope(writer: gguf.GGUFWriter, rope: Configuration) -> None:
    if rope.get("rope_theta") is not None:
        writer.add_rope_freq_base(rope.number("rope_theta"))
    kind = rope.get("rope_type")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope.number("factor"))
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope.number("factor"))
        writer.add_rope_scaling_orig_ctx_len(rope.integer("original_max_position_embeddings"))
    elif kind not in (None, "default", "llama3"):
        raise ConversionFailed(f'config.json: rope_scaling of type "{kind}" cannot be converted')


def _add_pooling(writer: gguf.GGUFWriter, folder: Folder, recipe: Recipe) -> None:
    """Write how sentence-transformers pools: as the folder says, an encoder without a word about it by the mean."""
    for path in folder.matching("*/config.json"):
        pooling = folder.json(str(path.relative_to(folder.path)))
        for key, kind in _POOLINGS.items():
            if pooling.get(key) is True:
                writer.add_pooling_type(kind)
                return
    if recipe.arch is gguf.MODEL_ARCH.BERT:
        writer.add_pooling_type(gguf.PoolingType.MEAN)


def _n_rows(stored: dict[str, Stored], recipe: Recipe, vocabulary: Vocabulary) -> int:
    """Give the number of tokens that the embedding has rows for."""
    found = next((one for name, one in stored.items() if name.endswith("embed_tokens.weight")), None)
    found = found or next((one for name, one in stored.items() if name.endswith("word_embeddings.weight")), None)
    if found is None or not found.entry.shape:
        raise ConversionFailed("the weights have no token embedding")
    return min(found.entry.shape[0], len(vocabulary.tokens)) if recipe.cuts_vocabulary else found.entry.shape[0]


def _plans(stored: dict[str, Stored], recipe: Recipe, config: Configuration, n_rows: int) -> list[_Plan]:
    names = gguf.get_tensor_name_map(recipe.arch, config.n_layers)
    plans = [_Plan(name, tensor, Type.F32, tensor.shape) for name, tensor in recipe.computed(config)]
    lacks_prefix = "embed_tokens.weight" in stored
    for original, one in sorted(stored.items()):
        name = _known_name(original, lacks_prefix=lacks_prefix)
        if name.startswith(recipe.ignored):
            continue
        mapped = names.get_type_and_name(name, try_suffixes=_SUFFIXES)
        if mapped is None:
            raise ConversionFailed(f"the tensor {original} has no place in this architecture")
        kind, new_name = mapped
        shape = tuple(one.entry.shape)
        if kind is gguf.MODEL_TENSOR.TOKEN_EMBD and shape:
            shape = (n_rows, *shape[1:])
        narrow = Type.BF16 if one.entry.dtype == "BF16" else Type.F16
        is_precise = len(shape) <= 1 or kind in _PRECISE or new_name.endswith("_norm.weight")
        plans.append(_Plan(new_name, one, Type.F32 if is_precise else narrow, shape))
    if len({plan.name for plan in plans}) < len(plans):
        raise ConversionFailed("two of the tensors have the same place")
    return plans


def _known_name(name: str, *, lacks_prefix: bool) -> str:
    """Give a name as gguf's map knows it; what was saved as a bare model lacks the `model.` in front."""
    name = name.removeprefix("bert.").removeprefix("language_model.").replace("model.language_model.", "model.", 1)
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return f"model.{name}" if lacks_prefix else name


def _write(writer: gguf.GGUFWriter, plans: list[_Plan], recipe: Recipe, config: Configuration, tell: Tell) -> None:
    total = sum(plan.size_bytes for plan in plans)
    for plan in plans:
        dtype = "float32" if plan.type is Type.F32 else "float16"
        writer.add_tensor_info(plan.name, plan.shape, np.dtype(dtype), plan.size_bytes, plan.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    done = 0
    for plan in plans:
        writer.write_tensor_data(_values(plan, recipe, config))
        done += plan.size_bytes
        tell(done, total)
    writer.close()


def _values(plan: _Plan, recipe: Recipe, config: Configuration) -> npt.NDArray[Any]:
    if isinstance(plan.source, Tensor):
        return plan.source.float32()
    tensor = plan.source.load()
    if plan.shape != tensor.shape:
        tensor = tensor.reshaped(tensor.values[: plan.shape[0]])
    tensor = recipe.change(plan.source.name, tensor, config)
    if plan.type is Type.F32:
        return tensor.float32()
    return tensor.bfloat16() if plan.type is Type.BF16 else tensor.float16(plan.source.name)
