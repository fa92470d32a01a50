"""Split GGUFs: the shards of one model joined into one file, which is what a runner loads.

Shards are told by their metadata (`split.no`, `split.count`, `split.tensors.count`), never by their names. The joined
file has the first shard's metadata but for those keys, all tensors in the order of the shards, and their bytes as
they were.
"""

import os
import struct
from collections.abc import Generator, Mapping
from pathlib import Path

from actors.errors import BlobNotFound, InvalidGguf
from registry.blobs import Blobs, BlobWriter
from registry.digests import parse_digest
from registry.gguf import DEFAULT_ALIGNMENT, MAGIC, GgufFile, is_gguf, read_gguf
from registry.gguf_cursor import Cursor
from registry.gguf_types import ARRAY, SCALARS, STRING, TENSOR_TYPES
from registry.manifests import WEIGHTS, Layer, Manifest
from registry.progress import Progress

Merge = Generator[Progress, None, str]

_COPY_BYTES = 1 << 20
_REPORT_EVERY_BYTES = 64 << 20
_WINDOW_BYTES = 1 << 20
_KEYS = {b"split.no", b"split.count", b"split.tensors.count"}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_VERSION = 3
_TYPE_NUMBERS = {packing.name: number for number, packing in TENSOR_TYPES.items()}


def split_count(gguf: GgufFile) -> int:
    """Give the number of files over which a model is split; 0 or 1 for a whole one."""
    count = gguf.metadata.get("split.count")
    return count if isinstance(count, int) else 0


def joined_files(blobs: Blobs, files: Mapping[str, str]) -> Generator[Progress, None, dict[str, str]]:
    """Replace the shards among uploaded files by the joined one.

    Args:
        blobs: where their bytes are.
        files: digests by file name.

    Returns:
        The files, with one entry for all shards together.

    Raises:
        BlobNotFound: a file was not uploaded.
        InvalidGguf: a file is damaged, or shards are missing or do not belong together.
        StoreUnwritable: the operating system refused a write.
    """
    shards = {name: digest for name, digest in files.items() if _is_shard(blobs, digest)}
    if not shards:
        return dict(files)
    digest = yield from join(blobs, tuple(shards.values()))
    whole = {name: digest for name, digest in files.items() if name not in shards}
    return {**whole, min(shards): digest}


def joined_layers(blobs: Blobs, manifest: Manifest) -> Generator[Progress, None, Manifest | None]:
    """Give the manifest with the joined file for shards that are layers of their own, None when there are none.

    Raises:
        InvalidGguf: a file is damaged, or shards are missing or do not belong together.
        StoreUnwritable: the operating system refused a write.
    """
    weights = manifest.of_type(WEIGHTS)
    if len(weights) < 2 or not all(_is_shard(blobs, layer.digest) for layer in weights):  # noqa: PLR2004 - several
        return None
    digest = yield from join(blobs, tuple(layer.digest for layer in weights))
    size = blobs.size(digest)
    if size is None:
        raise BlobNotFound(digest)
    others = tuple(layer for layer in manifest.layers if layer.media_type != WEIGHTS)
    return Manifest(config=manifest.config, layers=(Layer(WEIGHTS, digest, size), *others))


def join(blobs: Blobs, digests: tuple[str, ...]) -> Merge:
    """Join shards to one blob, whatever order they are given in.

    Returns:
        Its digest.

    Raises:
        InvalidGguf: a file is damaged, or shards are missing or do not belong together.
        StoreUnwritable: the operating system refused a write.
    """
    read = [(blobs.path(digest), read_gguf(blobs.path(digest))) for digest in digests]
    shards = sorted(read, key=lambda shard: _number(shard[1], "split.no"))
    _check([gguf for _, gguf in shards])
    total = sum(gguf.size_bytes for _, gguf in shards)
    with blobs.writer() as writer:
        writer.write(_header(shards))
        for path, gguf in shards:
            reported = 0
            for _ in _copy_data(path, gguf, writer):
                if writer.size_bytes - reported >= _REPORT_EVERY_BYTES:
                    reported = writer.size_bytes
                    yield Progress(
                        status="joining shards", digest="shards", total=total, completed=min(total, reported)
                    )
        yield Progress(status="joining shards", digest="shards", total=total, completed=total)
        return writer.commit()


def _is_shard(blobs: Blobs, digest: str) -> bool:
    path = blobs.path(digest)
    if not blobs.touch(digest):
        raise BlobNotFound(parse_digest(digest))
    return is_gguf(path) and split_count(read_gguf(path)) > 1


def _number(gguf: GgufFile, key: str) -> int:
    value = gguf.metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _check(shards: list[GgufFile]) -> None:
    count = split_count(shards[0])
    if [_number(gguf, "split.no") for gguf in shards] != list(range(count)):
        raise InvalidGguf(f"the model is split over {count} files, of which {len(shards)} are given: name all of them")
    names = [tensor.name for gguf in shards for tensor in gguf.tensors]
    if any(split_count(gguf) != count for gguf in shards) or len(set(names)) != len(names):
        raise InvalidGguf("the files are shards of different models")
    announced = _number(shards[0], "split.tensors.count")
    if announced not in {-1, len(names)}:
        raise InvalidGguf(f"the shards have {len(names)} tensors together, where {announced} are announced")
    if len({_alignment(gguf) for gguf in shards if gguf.tensors}) > 1:
        raise InvalidGguf("the shards differ in their alignment: convert the model again")


def _alignment(gguf: GgufFile) -> int:
    value = gguf.metadata.get("general.alignment")
    return value if isinstance(value, int) else DEFAULT_ALIGNMENT


def _header(shards: list[tuple[Path, GgufFile]]) -> bytes:
    """Write counts, metadata and tensor table of the joined file, padded to where its data begins."""
    keys = _metadata(*shards[0])
    alignment = next((_alignment(gguf) for _, gguf in shards if gguf.tensors), DEFAULT_ALIGNMENT)
    table = bytearray()
    base = 0
    for _, gguf in shards:
        for tensor in gguf.tensors:
            name = tensor.name.encode()
            table += _U64.pack(len(name)) + name + _U32.pack(len(tensor.shape))
            table += b"".join(map(_U64.pack, tensor.shape))
            table += _U32.pack(_TYPE_NUMBERS[tensor.type_name]) + _U64.pack(base + tensor.offset)
        base += _data_bytes(gguf)
    n_tensors = sum(len(gguf.tensors) for _, gguf in shards)
    head = MAGIC + _U32.pack(_VERSION) + _U64.pack(n_tensors) + _U64.pack(len(keys)) + b"".join(keys) + bytes(table)
    return head + bytes(-len(head) % alignment)


def _metadata(path: Path, gguf: GgufFile) -> list[bytes]:
    """Give the raw entries of a file that `read_gguf` has found good, without those that tell of the split."""
    entries = []
    with path.open("rb", buffering=0) as file:
        cursor = Cursor(file, gguf.size_bytes, _WINDOW_BYTES)
        cursor.skip(len(MAGIC) + _U32.size + 2 * _U64.size)
        for _ in range(len(gguf.metadata)):
            start = cursor.position
            key = cursor.take(cursor.u64())
            _skip_value(cursor)
            if key not in _KEYS:
                entries.append(os.pread(file.fileno(), cursor.position - start, start))
    return entries


def _skip_value(cursor: Cursor) -> None:
    kind = cursor.u32()
    if kind == STRING:
        cursor.skip(cursor.u64())
    elif kind == ARRAY:
        element, length = cursor.u32(), cursor.u64()
        if element == STRING:
            cursor.skip_strings(length)
        else:
            cursor.skip(length * SCALARS[element].size)
    else:
        cursor.skip(SCALARS[kind].size)


def _data_bytes(gguf: GgufFile) -> int:
    """Give the length of a shard's tensor data with its final padding."""
    if not gguf.tensors:
        return 0
    end = gguf.tensors[-1].offset + gguf.tensors[-1].size_bytes
    return end + -end % _alignment(gguf)


def _copy_data(path: Path, gguf: GgufFile, writer: BlobWriter) -> Generator[None, None, None]:
    missing = _data_bytes(gguf)
    with path.open("rb") as file:
        file.seek(gguf.data_offset)
        while missing:
            chunk = file.read(min(_COPY_BYTES, missing))
            if not chunk:  # only the padding behind the last tensor may be left out of a file
                chunk = bytes(missing)
            writer.write(chunk)
            missing -= len(chunk)
            yield
