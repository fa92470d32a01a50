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
