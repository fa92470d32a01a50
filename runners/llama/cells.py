"""The cells of one sequence as llama.cpp serialises them, and their conversion from one cache to another.

A sequence has cells in one stream only, whichever that is; llama.cpp wants as many as the cache has that it reads into.

Format: `llama_state_seq_get_data` of the llama.cpp that is pinned, little-endian. u32 magic, i32 sequence, then one
cache, or two for a sliding window, each (`llama_kv_cache::state_write`):

    u32 streams; per stream: u32 cells, and if there are any
        per cell: i32 position, u32 sequences, i32 sequence each
        u32 values are transposed, u32 layers
        per layer the keys: i32 type, u64 bytes per row, rows
        per layer the values: i32 type, u64 bytes per row, rows; transposed: i32 type, u32 bytes per element,
        u32 width, then each dimension's elements of all cells
"""

import struct
from typing import Any, Final

import numpy as np

from actors.errors import DecodeFailed

F16: Final = 1
BF16: Final = 30
_HEAD_BYTES = 8
_COUNT_BYTES = 4
_CODES = {F16: np.dtype("<f2"), BF16: np.dtype("<u2")}


class _Cursor:
    """Reads forward through a state; an end that comes too early is an error."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self.at = 0

    @property
    def is_done(self) -> bool:
        return self.at == len(self._data)

    def take(self, size: int) -> memoryview:
        if size > len(self._data) - self.at:
            raise DecodeFailed("a saved sequence ends early")
        self.at += size
        return self._data[self.at - size : self.at]

    def since(self, start: int) -> memoryview:
        return self._data[start : self.at]

    def number(self, code: str) -> int:
        return int(struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0])


def n_streams_of(state: bytes) -> int:
    """Give the number of streams of the cache that a state comes from.

    Raises:
        DecodeFailed: it is not such a state.
    """
    cursor = _Cursor(state)
    cursor.take(_HEAD_BYTES)
    return cursor.number("I")


def with_streams(state: bytes, n_streams: int) -> bytes:
    """Rewrite a sequence's state for a cache of `n_streams` streams.

    Raises:
        DecodeFailed: it is not such a state.
    """
    return b"".join(parts_with_streams(state, n_streams))


def parts_with_streams(state: bytes, n_streams: int) -> list[bytes | memoryview]:
    """Give in parts, none of them copied, what `with_streams` gives; as that."""
    cursor = _Cursor(state)
    out: list[bytes | memoryview] = [cursor.take(_HEAD_BYTES)]
    while not cursor.is_done:
        streams = [_stream(cursor) for _ in range(cursor.number("I"))]
        filled = [stream for stream in streams if len(stream) > _COUNT_BYTES]
        out += [struct.pack("<I", n_streams), *filled, bytes(_COUNT_BYTES * (n_streams - len(filled)))]
    return out


def convert(state: bytes, *, value_type: int, transposed: bool, n_positions: int | None = None) -> bytes:
    """Rewrite a sequence's state so that its values have another type and order; keys stay as they are.

    Args:
        state: what llama.cpp serialised.
        value_type: enum ggml_type of the values, f16 or bf16.
        transposed: whether the values of one dimension shall lie side by side, as without flash attention.
        n_positions: cells from this position on are left out.

    Raises:
        DecodeFailed: it is not such a state, or has types other than f16 and bf16.
    """
    cursor = _Cursor(state)
    out: list[bytes | memoryview] = [cursor.take(_HEAD_BYTES)]
    while not cursor.is_done:
        _convert_cache(cursor, out, value_type=value_type, transposed=transposed, n_positions=n_positions)
    return b"".join(out)


def _convert_cache(
    cursor: _Cursor, out: list[bytes | memoryview], *, value_type: int, transposed: bool, n_positions: int | None
) -> None:
    n_streams = cursor.number("I")
    out.append(struct.pack("<I", n_streams))
    for _ in range(n_streams):
        n_cells = cursor.number("I")
        if not n_cells:
            out.append(struct.pack("<I", 0))
            continue
        heads = [_cell_head(cursor) for _ in range(n_cells)]
        chosen = [i for i, (position, _) in enumerate(heads) if n_positions is None or position < n_positions]
        out.append(struct.pack("<I", len(chosen)))
        out += [heads[i][1] for i in chosen]
        was_transposed, n_layers = bool(cursor.number("I")), cursor.number("I")
        out += [struct.pack("<II", transposed, n_layers)] if chosen else []
        for _ in range(n_layers):
            start = cursor.take(12)
            row_bytes = struct.unpack("<iQ", start)[1]
            rows = np.frombuffer(cursor.take(row_bytes * n_cells), dtype=np.uint8).reshape(n_cells, row_bytes)
            out += [start, rows[chosen].tobytes()] if chosen else []
        for _ in range(n_layers):
            values = _read_values(cursor, n_cells, was_transposed=was_transposed)[chosen]
            out += _write_values(values, value_type=value_type, transposed=transposed) if chosen else []


def _stream(cursor: _Cursor) -> memoryview:
    """Pass over one stream, and give all of it."""
    start = cursor.at
    n_cells = cursor.number("I")
    if n_cells:
        for _ in range(n_cells):
            _cell_head(cursor)
        is_transposed, n_layers = cursor.number("I"), cursor.number("I")
        for _ in range(n_layers):
            _rows(cursor, n_cells)
        for _ in range(n_layers):
            (_columns if is_transposed else _rows)(cursor, n_cells)
    return cursor.since(start)


def _rows(cursor: _Cursor, n_cells: int) -> None:
    cursor.number("i")
    cursor.take(cursor.number("Q") * n_cells)


def _columns(cursor: _Cursor, n_cells: int) -> None:
    cursor.number("i")
    cursor.take(cursor.number("I") * cursor.number("I") * n_cells)


def _cell_head(cursor: _Cursor) -> tuple[int, bytes]:
    """Give a cell's position and its head as it stands."""
    head = bytes(cursor.take(8))
    position, n_sequences = struct.unpack("<iI", head)
    return position, head + bytes(cursor.take(4 * n_sequences))


def _read_values(cursor: _Cursor, n_cells: int, *, was_transposed: bool) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Read one layer's values, float32 of shape (cells, width)."""
    kind = cursor.number("i")
    code = _CODES.get(kind)
    if code is None:
        raise DecodeFailed(f"a saved sequence has values of type {kind}, which has no other layout")
    if was_transposed:
        cursor.number("I")
        width = cursor.number("I")
    else:
        width = cursor.number("Q") // code.itemsize
    raw = np.frombuffer(cursor.take(n_cells * width * code.itemsize), dtype=code)
    numbers = raw.astype(np.float32) if kind == F16 else (raw.astype(np.uint32) << 16).view(np.float32)
    return numbers.reshape(width, n_cells).T if was_transposed else numbers.reshape(n_cells, width)


def _write_values(
    values: "np.ndarray[Any, np.dtype[np.float32]]", *, value_type: int, transposed: bool
) -> list[bytes | memoryview]:
    width = values.shape[1]
    rows = np.ascontiguousarray(values.T if transposed else values)
    if value_type == F16:
        data = rows.astype("<f2").tobytes()
    else:
        bits = rows.view(np.uint32)
        data = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()  # to the nearest, ties to even
    size = _CODES[value_type].itemsize
    head = struct.pack("<iII", value_type, size, width) if transposed else struct.pack("<iQ", value_type, size * width)
    return [head, data]
