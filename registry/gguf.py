"""GGUF files: a strict reader of the header, made for hostile input.

The reader checks all that llama.cpp checks before it maps a file, so that a bad file is refused with one clear error
and never reaches native code: magic and version, counts, string and array lengths against the file's size, types, no
nested arrays, unique keys and names, shapes without overflow, and tensors that follow each other without gap or overlap
and end inside the file. Tensor data is not read.

Whatever a file says, reading it takes less than 50 MB and a second: what is kept is counted in bytes, and what only
takes time (tensors, strings passed over, elements to be decoded) in numbers. Long arrays (a vocabulary) are skipped
and kept as `Omitted` unless asked for; that makes the difference between 10 ms and 100 ms for 50,000 tokens. Asked for,
they are kept as the JSON text that they are wanted for, an eighth of what the objects would take.

Source: GGUF specification, versions 2 and 3, little-endian, and `gguf.cpp` of llama.cpp (October 2026).
"""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from actors.errors import InvalidGguf
from registry.gguf_cursor import Cursor
from registry.gguf_types import ARRAY, BOOL, FLOAT32, SCALARS, STRING, TENSOR_TYPES, VALUE_NAMES
from registry.numbers import plain_number, shortest_float32

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32

_VERSIONS = (2, 3)
_LARGEST_VERSION = 0xFFFF  # a byte-swapped version is larger than this
_MAX_KEYS = 1 << 16
_MAX_TENSORS = 1 << 15  # the largest mixtures have 3,000
_MAX_STRINGS = 1 << 21  # of all arrays together; twice what the largest vocabularies have, with their merges
_MAX_EFFORT = 1_000_000  # of decoding elements of all arrays together, 0.6 us each; Gemma's vocabulary takes 800,000
_FLOAT_EFFORT = 4  # of a 32-bit float, unless it is whole
_MAX_SHORT_EFFORT = 1 << 18
_MAX_KEY_BYTES = 0xFFFF  # the specification's
_MAX_NAME_BYTES = 63  # GGML_MAX_NAME, less the final NUL
_MAX_DIMENSIONS = 4
_MAX_ELEMENTS = 1 << 63
_SHORT_ARRAY = 1024  # per-layer facts are kept, vocabularies are not
_LONGEST_STRING_BYTES = 2 << 20  # the longest chat template seen is 60 kB
_KEPT_BYTES = 12 << 20
_NAMES_BYTES = 2 << 20  # of that, which arrays leave to keys and tensors
_KEPT_ARRAY_BYTES = 14 << 20  # of JSON; the largest vocabularies, with their merges, take 9 MB
_CHUNK = 1024
_LONGEST_ELEMENT_BYTES = 64 << 10
_OBJECT_BYTES = 64  # what CPython adds to a short string
_WHOLE_WINDOW_BYTES = 4 << 20  # the header of a 50,000-token model fits into one read
_HEAD_WINDOW_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Omitted:
    """A value too long to keep: its type, and its length in elements (array) or bytes (string)."""

    element_type: str
    length: int


@dataclass(frozen=True, slots=True)
class LongArray:
    """An array too long to keep as objects, as JSON text: whole floats without decimals, as Go prints them."""

    element_type: str
    length: int
    json: bytes


Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...] | Omitted | LongArray


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's description; `shape` has the contiguous dimension first, `offset` counts from the data's start."""

    name: str
    type_name: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int
    n_elements: int


@dataclass(frozen=True, slots=True)
class GgufFile:
    """What a GGUF header says. `data_offset` is where tensor data begins in the file."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    size_bytes: int

    @property
    def architecture(self) -> str:
        """The model's architecture, such as `llama`; `unknown` when the file names none."""
        value = self.metadata.get("general.architecture")
        return value if isinstance(value, str) and value else "unknown"

    def value(self, key: str) -> Value | None:
        """Look up a key; without the prefix `general.` or `tokenizer.` it is one of the architecture's."""
        if not key.startswith(("general.", "tokenizer.")):
            key = f"{self.architecture}.{key}"
        return self.metadata.get(key)

    def integer(self, key: str) -> int | None:
        """Look up a key that must hold one integer; anything else reads as absent."""
        value = self.value(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, key: str) -> str:
        """Look up a key that must hold text; anything else reads as empty."""
        value = self.value(key)
        return value if isinstance(value, str) else ""


def read_gguf(path: Path, *, long_arrays: bool = False) -> GgufFile:
    """Read and check a GGUF file's header.

    Args:
        path: a regular file.
        long_arrays: keep long arrays as JSON (up to a total of 14 MiB), too.

    Raises:
        InvalidGguf: the file is no GGUF file of version 2 or 3, is cut short anywhere, or contradicts itself; also when
            it cannot be opened.
    """
    return _open(path, _KEPT_ARRAY_BYTES if long_arrays else 0, whole=True)


def read_gguf_head(path: Path) -> GgufFile:
    """Read only the keys before the first of the tokenizer's: enough for a list of models, and independent of its size.

    The result has no tensors, and nothing behind those keys is checked.

    Raises:
        InvalidGguf: as for `read_gguf`, as far as the head goes.
    """
    return _open(path, 0, whole=False)


def is_gguf(path: Path) -> bool:
    """Tell whether a file begins with the magic bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _open(path: Path, array_bytes: int, *, whole: bool) -> GgufFile:
    window_bytes = _WHOLE_WINDOW_BYTES if whole else _HEAD_WINDOW_BYTES
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidGguf(f"{path} is not a file")
        with path.open("rb", buffering=0) as file:
            return _Reader(Cursor(file, status.st_size, window_bytes), status.st_size, array_bytes).read(whole=whole)
    except OSError as error:
        raise InvalidGguf(f"cannot read the GGUF file {path}: {error.strerror or error}") from error


class _Reader:
    """One pass over one file; owns the budgets of what is kept."""

    def __init__(self, cursor: Cursor, file_bytes: int, array_bytes: int) -> None:
        self._cursor = cursor
        self._file_bytes = file_bytes
        self._kept_bytes = 0
        self._array_bytes = array_bytes
        self._strings = _MAX_STRINGS
        self._effort = _MAX_EFFORT if array_bytes else _MAX_SHORT_EFFORT

    def read(self, *, whole: bool) -> GgufFile:
        version, n_tensors, n_keys = self._counts()
        metadata: dict[str, Value] = {}
        for _ in range(n_keys):
            key = self._name(_MAX_KEY_BYTES, "a metadata key")
            if not whole and key.startswith("tokenizer."):
                break
            if key in metadata:
                raise InvalidGguf(f"the GGUF file has the metadata key {key!r} twice")
            metadata[key] = self._value(key)
        if not whole:
            return GgufFile(version, metadata, (), 0, self._file_bytes)
        alignment = _alignment(metadata)
        tensors = self._tensors(n_tensors, alignment)
        data_offset = _padded(self._cursor.position, alignment)
        if tensors and data_offset + tensors[-1].offset + tensors[-1].size_bytes > self._file_bytes:
            raise InvalidGguf(
                f"the GGUF file is cut short: it has {self._file_bytes} bytes, its tensors end at byte "
                f"{data_offset + tensors[-1].offset + tensors[-1].size_bytes}"
            )
        return GgufFile(version, metadata, tensors, data_offset, self._file_bytes)

    def _counts(self) -> tuple[int, int, int]:
        if self._cursor.remaining < len(MAGIC) or self._cursor.take(len(MAGIC)) != MAGIC:
            raise InvalidGguf("invalid file magic: not a GGUF file")
        version = self._cursor.u32()
        if version > _LARGEST_VERSION:
            raise InvalidGguf(
                "the GGUF file is big-endian, which this build does not read: convert it to little-endian"
            )
        if version not in _VERSIONS:
            raise InvalidGguf(f"the GGUF file has version {version}; only 2 and 3 can be read: convert it again")
        n_tensors, n_keys = self._cursor.u64(), self._cursor.u64()
        if n_tensors > _MAX_TENSORS or n_keys > _MAX_KEYS:
            raise InvalidGguf(f"the GGUF file announces {n_tensors} tensors and {n_keys} metadata keys: too many")
        return version, n_tensors, n_keys

    def _name(self, longest_bytes: int, what: str) -> str:
        length = self._cursor.u64()
        if not 0 < length <= longest_bytes:
            raise InvalidGguf(f"the GGUF file has {what} of {length} bytes; 1 to {longest_bytes} are possible")
        self._kept_bytes += length + _OBJECT_BYTES
        if self._kept_bytes > _KEPT_BYTES:
            raise InvalidGguf(f"the GGUF file's names take more than {_KEPT_BYTES} bytes")
        try:
            return self._cursor.take(length).decode()
        except UnicodeDecodeError as error:
            raise InvalidGguf(f"the GGUF file has {what} that is not UTF-8") from error

    def _value(self, key: str) -> Value:
        number = self._cursor.u32()
        if number == STRING:
            return self._string()
        if number == ARRAY:
            return self._array(key)
        if number not in SCALARS:
            raise InvalidGguf(f"the GGUF file gives the metadata key {key!r} the unknown type {number}")
        return self._scalar(number, key)

    def _scalar(self, number: int, key: str) -> Scalar:
        value = self._cursor.scalar(SCALARS[number])
        if number == BOOL:
            if value not in (0, 1):
                raise InvalidGguf(f"the GGUF file's metadata key {key!r} holds {value}, which is no boolean")
            return bool(value)
        return shortest_float32(value) if number == FLOAT32 else value

    def _string(self) -> str | Omitted:
        length = self._cursor.u64()
        if length > _LONGEST_STRING_BYTES or self._kept_bytes + length > _KEPT_BYTES:
            self._cursor.skip(length)
            return Omitted("string", length)
        self._kept_bytes += length
        return self._cursor.take(length).decode(errors="replace")

    def _array(self, key: str) -> Value:
        number, length = self._cursor.u32(), self._cursor.u64()
        if number == ARRAY:
            raise InvalidGguf(f"the GGUF file's metadata key {key!r} holds arrays inside an array")
        if number != STRING and number not in SCALARS:
            raise InvalidGguf(f"the GGUF file's metadata key {key!r} holds an array of the unknown type {number}")
        if number == STRING and length > self._strings:
            raise InvalidGguf(f"the GGUF file announces an array of {length} strings: too many")
        self._strings -= length if number == STRING else 0
        is_long = length > _SHORT_ARRAY
        if length > self._effort or (is_long and not self._array_bytes):
            return self._omitted(number, length, skipped=length)
        return self._long(number, length) if is_long else self._short(number, length)

    def _omitted(self, number: int, length: int, *, skipped: int) -> Omitted:
        """Pass over the last elements of an array."""
        if number == STRING:
            self._cursor.skip_strings(skipped)
        else:
            self._cursor.skip(skipped * SCALARS[number].size)
        return Omitted(VALUE_NAMES[number], length)

    def _short(self, number: int, length: int) -> Value:
        """Read an array whose elements are kept."""
        kept: list[Scalar] = []
        for n_left in range(length, 0, -1):
            n_bytes = self._cursor.u64() if number == STRING else 0
            if self._kept_bytes + n_bytes + _OBJECT_BYTES > _KEPT_BYTES - _NAMES_BYTES or self._effort < 0:
                return self._rest_omitted(number, length, n_bytes, n_left)
            self._kept_bytes += n_bytes + _OBJECT_BYTES
            kept.append(self._element(number, n_bytes))
        return tuple(kept)

    def _long(self, number: int, length: int) -> Value:
        """Read an array as JSON text."""
        text, chunk, chunk_bytes = bytearray(b"["), list[Any](), 0
        for n_left in range(length, 0, -1):
            n_bytes = self._cursor.u64() if number == STRING else 0
            if n_bytes > _LONGEST_ELEMENT_BYTES or self._array_bytes < 0 or self._effort < 0:
                return self._rest_omitted(number, length, n_bytes, n_left)
            chunk.append(self._element(number, n_bytes))
            chunk_bytes += n_bytes
            if n_left == 1 or len(chunk) == _CHUNK or chunk_bytes > _LONGEST_ELEMENT_BYTES:
                encoded = msgspec.json.encode(plain_number(chunk))
                text += encoded[1:-1] + b","
                self._array_bytes -= len(encoded)
                chunk, chunk_bytes = [], 0
        text[-1:] = b"]"
        return LongArray(VALUE_NAMES[number], length, bytes(text))

    def _rest_omitted(self, number: int, length: int, n_bytes: int, n_left: int) -> Omitted:
        """Pass over the last elements of an array, of the first of which the length is read already."""
        self._cursor.skip(n_bytes)
        return self._omitted(number, length, skipped=n_left - (number == STRING))

    def _element(self, number: int, n_bytes: int) -> Scalar:
        self._effort -= 1
        if number == STRING:
            return self._cursor.take(n_bytes).decode(errors="replace")
        value = self._scalar(number, "of an array")
        if number == FLOAT32 and not float(value).is_integer():
            self._effort -= _FLOAT_EFFORT - 1
        return value

    def _tensors(self, count: int, alignment: int) -> tuple[TensorInfo, ...]:
        tensors: list[TensorInfo] = []
        names: set[str] = set()
        expected = 0
        for _ in range(count):
            tensor = self._tensor()
            if tensor.name in names:
                raise InvalidGguf(f"the GGUF file has the tensor {tensor.name!r} twice")
            if tensor.offset != expected:
                raise InvalidGguf(f"the tensor {tensor.name!r} has offset {tensor.offset}, expected {expected}")
            expected = _padded(tensor.offset + tensor.size_bytes, alignment)
            names.add(tensor.name)
            tensors.append(tensor)
        return tuple(tensors)

    def _tensor(self) -> TensorInfo:
        name = self._name(_MAX_NAME_BYTES, "a tensor name")
        n_dimensions = self._cursor.u32()
        if n_dimensions > _MAX_DIMENSIONS:
            raise InvalidGguf(f"the tensor {name!r} has {n_dimensions} dimensions; at most 4 are possible")
        shape = tuple(self._cursor.u64() for _ in range(n_dimensions))
        number, offset = self._cursor.u32(), self._cursor.u64()
        n_elements = 1
        for length in shape:
            n_elements *= length
        if not 0 < n_elements < _MAX_ELEMENTS:
            raise InvalidGguf(f"the tensor {name!r} has the impossible shape {shape}")
        packing = TENSOR_TYPES.get(number)
        if packing is None:
            raise InvalidGguf(f"the tensor {name!r} has the unknown type {number}")
        if (shape or (1,))[0] % packing.block_elements:
            raise InvalidGguf(
                f"the tensor {name!r} has rows of {(shape or (1,))[0]} elements, which {packing.name} cannot divide"
            )
        size_bytes = n_elements // packing.block_elements * packing.block_bytes
        return TensorInfo(name, packing.name, shape, offset, size_bytes, n_elements)


def _alignment(metadata: Mapping[str, Value]) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0 or value & (value - 1):
        raise InvalidGguf(f"the GGUF file's alignment {value!r} is not a power of two")
    return value


def _padded(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment
