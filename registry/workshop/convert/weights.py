"""Tensors of safetensors files: checked against the files, mapped, and turned into what a GGUF holds.

Format: 64-bit length of a JSON header, the header (`name: {dtype, shape, data_offsets}`), the data. Tensors are mapped,
so only those at work take memory.
"""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from actors.errors import ConversionFailed

_LONGEST_HEADER_BYTES = 100 << 20
_MOST_TENSORS = 1 << 17
_MOST_DIMENSIONS = 4
_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_FLOATS: dict[str, npt.DTypeLike] = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_LARGEST_F16 = 65504.0


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of floats; `kind` is how they are stored, BF16 as bits in unsigned integers."""

    kind: str
    values: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions, the contiguous one last."""
        return self.values.shape

    def reshaped(self, values: npt.NDArray[Any]) -> "Tensor":
        """Give the same elements in another order or shape."""
        return Tensor(self.kind, values)

    def float32(self) -> npt.NDArray[np.float32]:
        """Give the values as 32-bit floats."""
        if self.kind == "BF16":
            return (self.values.astype(np.uint32) << 16).view(np.float32)
        return self.values.astype(np.float32)

    def float16(self, name: str) -> npt.NDArray[np.float16]:
        """Give the values as 16-bit floats.

        Raises:
            ConversionFailed: one is too large for that.
        """
        if self.kind == "F16":
            return self.values.astype(np.float16)
        wide = self.float32()
        if wide.size and not np.abs(wide).max() <= _LARGEST_F16:
            raise ConversionFailed(f"the tensor {name} has values that 16-bit floats cannot hold: give it as BF16")
        return wide.astype(np.float16)

    def bfloat16(self) -> npt.NDArray[np.uint16]:
        """Give the bits of the values as BF16."""
        return self.values if self.kind == "BF16" else (self.float32().view(np.uint32) >> 16).astype(np.uint16)


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies."""

    name: str
    path: Path
    entry: _Entry
    data_at: int

    @property
    def size_bytes(self) -> int:
        """Bytes in the file."""
        return self.entry.data_offsets[1] - self.entry.data_offsets[0]

    @property
    def is_float(self) -> bool:
        """Whether it holds floats that can be converted."""
        return self.entry.dtype in _FLOATS

    def load(self) -> Tensor:
        """Map the tensor.

        Raises:
            ConversionFailed: its type is none that can be converted.
        """
        kind = self.entry.dtype
        if kind not in _FLOATS:
            raise ConversionFailed(f"the tensor {self.name} is of type {kind}; F32, F16 and BF16 can be converted")
        if not self.size_bytes:
            return Tensor(kind, np.empty(self.entry.shape, _FLOATS[kind]))
        mapped = np.memmap(
            self.path, dtype=_FLOATS[kind], mode="r", offset=self.data_at + self.entry.data_offsets[0],
            shape=tuple(self.entry.shape),
        )  # fmt: skip
        return Tensor(kind, mapped)


def stored_tensors(paths: Iterable[Path]) -> dict[str, Stored]:
    """List the tensors of files, which are the shards of one model.

    Raises:
        ConversionFailed: a file contradicts itself or is cut short, or two have the same tensor.
    """
    found: dict[str, Stored] = {}
    for path in paths:
        for one in _listed(path):
            if one.name in found:
                raise ConversionFailed(f"the tensor {one.name} is there twice")
            found[one.name] = one
    if len(found) > _MOST_TENSORS:
        raise ConversionFailed(f"there are {len(found)} tensors: too many")
    return found


def _listed(path: Path) -> Iterable[Stored]:
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0  # noqa: PLR2004 - 64 bits
        if not len("{}") <= length <= min(size_bytes - 8, _LONGEST_HEADER_BYTES):
            raise ConversionFailed(f"{path.name} is no safetensors file, or is cut short")
        header = file.read(length)
    data_at = 8 + length
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        decoded = {name: msgspec.json.decode(raw, type=_Entry) for name, raw in entries.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConversionFailed(f"the header of {path.name} cannot be read: {error}") from error
    for name, entry in decoded.items():
        _check(name, entry, size_bytes - data_at)
        yield Stored(name, path, entry, data_at)


def _check(name: str, entry: _Entry, data_bytes: int) -> None:
    begin, end = entry.data_offsets
    item_bytes = _ITEM_BYTES.get(entry.dtype)
    if len(entry.shape) > _MOST_DIMENSIONS or any(length < 0 for length in entry.shape):
        raise ConversionFailed(f"the tensor {name} has the impossible shape {entry.shape}")
    if not 0 <= begin <= end <= data_bytes:
        raise ConversionFailed(f"the tensor {name} lies outside its file, which is cut short or corrupt")
    if item_bytes is not None and math.prod(entry.shape) * item_bytes != end - begin:
        raise ConversionFailed(f"the tensor {name} has {end - begin} bytes, which its shape and type contradict")
