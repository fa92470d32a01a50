"""The GGUF reader: real files, and every way in which a file can lie."""

import contextlib
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import gguf
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.errors import InvalidGguf
from registry.gguf import GgufFile, LongArray, Omitted, is_gguf, read_gguf, read_gguf_head
from registry.numbers import shortest_float32

REPOSITORY = Path(__file__).parents[2]
WriteGguf = Callable[..., Path]


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _key(name: str, kind: int, value: bytes) -> bytes:
    return _text(name) + struct.pack("<I", kind) + value


def _tensor(name: str, shape: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    return _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def _file(*keys: bytes, tensors: tuple[bytes, ...] = (), tail: int = 0, counts: tuple[int, int] | None = None) -> bytes:
    n_tensors, n_keys = counts or (len(tensors), len(keys))
    header = b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_keys) + b"".join(keys) + b"".join(tensors)
    return header + bytes(-len(header) % 32 + tail)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], GgufFile]:
    """Read a file of these bytes."""

    def read_bytes(content: bytes) -> GgufFile:
        path = tmp_path / "made.gguf"
        path.write_bytes(content)
        return read_gguf(path)

    return read_bytes


def test_read_gguf_real_model_gives_metadata_and_tensors(tiny_gguf: Path) -> None:
    """Scalars, floats of 32 bits, short arrays and tensors come out as they went in."""
    file = read_gguf(tiny_gguf)
    assert (file.version, file.architecture, len(file.tensors)) == (3, "llama", 39)
    assert file.integer("block_count") == 4
    assert file.value("attention.layer_norm_rms_epsilon") == 1e-5
    assert file.value("tokenizer.ggml.add_bos_token") is False
    assert sum(tensor.n_elements for tensor in file.tensors) == 2_004_672
    last = file.tensors[-1]
    assert file.data_offset + last.offset + last.size_bytes == tiny_gguf.stat().st_size


def test_read_gguf_long_arrays_are_omitted_unless_asked_for(write_gguf: WriteGguf) -> None:
    """A vocabulary is skipped by default and whole on request."""
    tokens = [f"token {number}" for number in range(3000)]
    scores = [0.1 * number for number in range(3000)]
    path = write_gguf(tokenizer__ggml__tokens=tokens, tokenizer__ggml__scores=scores, general__tags=["a", "b"])
    file = read_gguf(path)
    assert file.metadata["tokenizer.ggml.tokens"] == Omitted("string", 3000)
    assert file.metadata["tokenizer.ggml.scores"] == Omitted("float32", 3000)
    assert file.metadata["general.tags"] == ("a", "b")
    whole = read_gguf(path, long_arrays=True)
    found = whole.metadata["tokenizer.ggml.tokens"], whole.metadata["tokenizer.ggml.scores"]
    assert all(isinstance(value, LongArray) and value.length == 3000 for value in found)
    assert [msgspec.json.decode(value.json) for value in found if isinstance(value, LongArray)] == [
        tokens,
        [shortest_float32(score) for score in scores],
    ]
    assert b"[0,0.1," in getattr(found[1], "json", b""), "a whole float has no decimals"
    assert whole.tensors == file.tensors


def test_read_gguf_head_stops_at_the_tokenizer(write_gguf: WriteGguf) -> None:
    """The head has the keys before the first tokenizer key and no tensors."""
    path = write_gguf(llama__block_count=2, tokenizer__ggml__tokens=["a"] * 5000, general__after="x")
    head = read_gguf_head(path)
    assert head.integer("block_count") == 2
    assert "general.after" not in head.metadata
    assert head.tensors == ()


def test_read_gguf_strings_across_the_window_are_skipped_whole(
    write_gguf: WriteGguf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the window ends makes no difference to what is read."""
    path = write_gguf(llama__tokens=["x" * (number % 70) for number in range(2000)], llama__after=7)
    expected = read_gguf(path)
    for window_bytes in (16, 61, 100, 1000):
        monkeypatch.setattr("registry.gguf._WHOLE_WINDOW_BYTES", window_bytes)
        assert read_gguf(path) == expected


def test_read_gguf_cut_at_any_byte_raises(write_gguf: WriteGguf, tmp_path: Path) -> None:
    """No prefix of a file passes, wherever the cut is; padding after the last tensor may be missing."""
    path = write_gguf(
        llama__block_count=2,
        general__name="n",
        general__tags=["a", "b"],
        llama__counts=[1, 2, 3],
        llama__eps=0.5,
        tokenizer__ggml__tokens=["t"] * 1500,
        tensors={"a": (4, 8), "b": (3,)},
    )
    content, file = path.read_bytes(), read_gguf(path)
    end = file.data_offset + file.tensors[-1].offset + file.tensors[-1].size_bytes
    cut = tmp_path / "cut.gguf"
    for length in (*range(600), *range(600, end, 61), *range(end - 200, end)):
        cut.write_bytes(content[:length])
        with pytest.raises(InvalidGguf):
            read_gguf(cut)
    cut.write_bytes(content[:end])
    assert read_gguf(cut).tensors == file.tensors


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "magic"),
        (b"GGML" + bytes(40), "magic"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "version 4"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (_file(counts=(0, 1 << 40)), "too many"),
        (_file(counts=(1 << 63, 0)), "too many"),
        (_file(_key("", 4, bytes(4))), "a metadata key of 0 bytes"),
        (_file(struct.pack("<Q", 1 << 63)), "a metadata key of 9223372036854775808 bytes"),
        (_file(struct.pack("<Q", 2) + b"\xff\xff" + bytes(8)), "not UTF-8"),
        (_file(_key("a", 4, bytes(4)), _key("a", 4, bytes(4))), "twice"),
        (_file(_key("a", 13, bytes(4))), "unknown type 13"),
        (_file(_key("a", 7, b"\2")), "no boolean"),
        (_file(_key("a", 8, struct.pack("<Q", 1 << 62))), "announces more"),
        (_file(_key("a", 8, struct.pack("<Q", (1 << 64) - 1))), "announces more"),
        (_file(_key("a", 9, struct.pack("<IQ", 9, 1))), "arrays inside an array"),
        (_file(_key("a", 9, struct.pack("<IQ", 77, 1))), "unknown type 77"),
        (_file(_key("a", 9, struct.pack("<IQ", 4, 1 << 62))), "announces more"),
        (_file(_key("a", 9, struct.pack("<IQ", 8, 1 << 62))), "too many"),
        (_file(_key("a", 9, struct.pack("<IQ", 8, 1 << 20))), "announces more"),
        (_file(_key("a", 9, struct.pack("<IQ", 8, 2000) + struct.pack("<Q", (1 << 64) - 9) * 2000)), "announces more"),
        (_file(_key("general.alignment", 4, struct.pack("<I", 0))), "power of two"),
        (_file(_key("general.alignment", 4, struct.pack("<I", 24))), "power of two"),
        (_file(_key("general.alignment", 8, _text("32"))), "power of two"),
        (_file(tensors=(_tensor("t"),), tail=15), "cut short"),
        (_file(tensors=(_tensor("t" * 64),), tail=16), "a tensor name of 64 bytes"),
        (_file(tensors=(_tensor("t"), _tensor("t", offset=32)), tail=64), "twice"),
        (_file(tensors=(_tensor("t", (1, 1, 1, 1, 1)),), tail=64), "5 dimensions"),
        (_file(tensors=(_tensor("t", (1 << 32, 1 << 32)),), tail=64), "impossible shape"),
        (_file(tensors=(_tensor("t", (0, 4)),), tail=64), "impossible shape"),
        (_file(tensors=(_tensor("t", (1 << 40,)),), tail=64), "cut short"),
        (_file(tensors=(_tensor("t", kind=4),), tail=64), "unknown type 4"),
        (_file(tensors=(_tensor("t", (33,), kind=3),), tail=64), "cannot divide"),
        (_file(tensors=(_tensor("t", offset=32),), tail=64), "expected 0"),
        (_file(tensors=(_tensor("t"), _tensor("u", offset=16)), tail=64), "expected 32"),
        (_file(tensors=(_tensor("t"), _tensor("u", offset=(1 << 64) - 32)), tail=64), "expected 32"),
    ],
)
def test_read_gguf_lying_file_raises(read: Callable[[bytes], GgufFile], content: bytes, reason: str) -> None:
    """Each lie is found and named."""
    with pytest.raises(InvalidGguf, match=reason):
        read(content)


def test_read_gguf_sound_made_file_passes(read: Callable[[bytes], GgufFile]) -> None:
    """The files above fail for their lies only: the same without a lie is read."""
    file = read(_file(_key("a.b", 4, struct.pack("<I", 7)), tensors=(_tensor("t"), _tensor("u", offset=32)), tail=48))
    assert file.metadata == {"a.b": 7}
    assert [(tensor.name, tensor.size_bytes) for tensor in file.tensors] == [("t", 16), ("u", 16)]


def test_read_gguf_missing_or_odd_path_raises(tmp_path: Path) -> None:
    """A path that is no readable file is the same kind of error."""
    for path in (tmp_path / "absent", tmp_path, Path("/dev/zero")):
        with pytest.raises(InvalidGguf):
            read_gguf(path)
        assert not is_gguf(path)


def test_read_gguf_huge_strings_are_not_kept(read: Callable[[bytes], GgufFile]) -> None:
    """Values beyond the budget are passed over, so that memory stays bounded."""
    big = "x" * (9 << 20)
    content = _file(*[_key(f"k{number}", 8, _text(big)) for number in range(4)], _key("z", 4, bytes(4)))
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        file = read(content)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.metadata["k0"] == Omitted("string", len(big))
    assert file.metadata["z"] == 0
    assert peak_bytes < 16 << 20


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_read_gguf_damaged_file_never_raises_anything_else(
    data: st.DataObject, tiny_gguf: Path, tmp_path: Path
) -> None:
    """Any bytes changed in a real header: the file is read or refused, nothing else."""
    content = bytearray(tiny_gguf.read_bytes()[:40_000])
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, 400) | st.integers(0, len(content) - 9))
        change: Any = data.draw(st.binary(min_size=1, max_size=8))
        content[position : position + len(change)] = change
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(tiny_gguf.stat().st_size)
    _read_or_refused(path)


_HOSTILE_NUMBERS = [0, 1, 9, 1 << 15, 1 << 20, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_read_gguf_hostile_number_anywhere_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    """Counts, lengths, types, dimensions and offsets may be anything; a file cut anywhere may follow."""
    array = struct.pack("<IQ", 8, 2) + _text("a") + _text("b")
    content = bytearray(
        _file(
            _key("general.alignment", 4, struct.pack("<I", 64)),
            _key("k", 9, array),
            _key("f", 9, struct.pack("<IQ3f", 6, 3, 1.0, 2.0, 3.0)),
            tensors=(_tensor("t"), _tensor("u", offset=64)),
            tail=200,
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        width = data.draw(st.sampled_from([4, 8]))
        number = data.draw(st.sampled_from(_HOSTILE_NUMBERS)) % (1 << 8 * width)
        position = data.draw(st.integers(4, len(content) - width))
        content[position : position + width] = number.to_bytes(width, "little")
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    _read_or_refused(path)


def _read_or_refused(path: Path) -> None:
    """Read in each way that there is."""
    for reader in (read_gguf, read_gguf_head, partial(read_gguf, long_arrays=True)):
        with contextlib.suppress(InvalidGguf):
            reader(path)


@cache
def _pieces(path: Path) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Take a real header apart: its metadata entries and its tensor entries."""
    file, content = read_gguf(path), path.read_bytes()
    reader = gguf.GGUFReader(path)
    starts = [field.offset for name, field in reader.fields.items() if not name.startswith("GGUF.")]
    starts += [tensor.field.offset for tensor in reader.tensors]
    ends = [*starts[1:], starts[-1] + sum(part.nbytes for part in reader.tensors[-1].field.parts)]
    pieces = tuple(content[start:end] for start, end in zip(starts, ends, strict=True))
    return pieces[: len(file.metadata)], pieces[len(file.metadata) :]


_HOSTILE_VALUES = [
    struct.pack("<I", 9) + struct.pack("<IQ", kind, length) + tail
    for kind in (0, 6, 7, 8, 9, 12, 13)
    for length in (0, 3, 2000, 1 << 40)
    for tail in (b"", bytes(24_000))
] + [struct.pack("<IQ", 8, length) for length in (0, 1 << 21, (1 << 64) - 8)]


@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_read_gguf_rearranged_real_header_is_read_or_refused(
    data: st.DataObject, tiny_gguf: Path, tmp_path: Path
) -> None:
    """Entries of a real file left out, doubled, put elsewhere, given other values; counts that do not fit them."""
    keys, tensors = map(list, _pieces(tiny_gguf))
    for _ in range(data.draw(st.integers(1, 4))):
        entries = data.draw(st.sampled_from([keys, tensors]))
        if not entries:
            continue
        at, to = (data.draw(st.integers(0, len(entries) - 1)) for _ in range(2))
        name_bytes = 8 + struct.unpack_from("<Q", entries[at])[0]
        match data.draw(st.sampled_from(["leave out", "double", "move", "other value"])):
            case "leave out":
                del entries[at]
            case "double":
                entries.insert(to, entries[at])
            case "move":
                entries.insert(to, entries.pop(at))
            case _:
                entries[at] = entries[at][:name_bytes] + data.draw(st.sampled_from(_HOSTILE_VALUES))
    counts = [data.draw(st.just(len(some)) | st.integers(0, len(some) + 2)) for some in (tensors, keys)]
    path = tmp_path / "rearranged.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, *counts) + b"".join(keys + tensors))
    with path.open("r+b") as file:
        file.truncate(data.draw(st.sampled_from([path.stat().st_size, tiny_gguf.stat().st_size, 1 << 40])))
    _read_or_refused(path)


@pytest.mark.parametrize(
    "entry",
    [
        _key("k", 9, struct.pack("<IQ", 8, 1_100_000) + bytes(8 * 1_100_000)),
        _key("k", 9, struct.pack("<IQ", 6, 300_000) + struct.pack("<f", 0.1) * 300_000),
        _key("k", 9, struct.pack("<IQ", 8, 2000) + struct.pack("<Q", 70_000) + bytes(70_000) + bytes(8 * 1999)),
        _key("k", 9, struct.pack("<IQ", 8, 50_000) + (struct.pack("<Q", 60) + b"\x01" * 60) * 50_000),
    ],
    ids=["strings", "floats", "a long element", "characters that JSON writes long"],
)
def test_read_gguf_arrays_that_take_too_long_are_omitted(tmp_path: Path, entry: bytes) -> None:
    """Also when long arrays are asked for, and what follows them is read all the same."""
    path = tmp_path / "long.gguf"
    path.write_bytes(_file(entry, _key("after", 4, struct.pack("<I", 7))))
    metadata = read_gguf(path, long_arrays=True).metadata
    assert isinstance(metadata["k"], Omitted)
    assert metadata["after"] == 7


_PEAK = """
import contextlib, pathlib, re, sys
from actors.errors import InvalidGguf
from registry.gguf import read_gguf, read_gguf_head

def peak_kb():
    return int(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])

before_kb = peak_kb()
for how in (read_gguf, read_gguf_head, lambda path: read_gguf(path, long_arrays=True)):
    with contextlib.suppress(InvalidGguf):
        how(pathlib.Path(sys.argv[1]))
print(peak_kb() - before_kb)
"""


def _many_tensors() -> bytes:
    tensors = tuple(_tensor(f"t{number}" + "x" * 50, offset=32 * number) for number in range(1 << 15))
    return _file(tensors=tensors, tail=32 << 15)


@pytest.mark.parametrize(
    "make",
    [
        _many_tensors,
        lambda: _file(*[_key(f"k{number}", 10, bytes(8)) for number in range(1 << 16)]),
        lambda: _file(*[_key(f"k{number}", 9, struct.pack("<IQ", 6, 1024) + b"\x55" * 4096) for number in range(500)]),
        lambda: _file(
            *[_key(f"k{number}", 8, struct.pack("<Q", 2 << 20) + b"\xff" * (2 << 20)) for number in range(9)]
        ),
        lambda: _file(_key("k", 9, struct.pack("<IQ", 8, 200_000) + (struct.pack("<Q", 60) + b"x" * 60) * 200_000)),
        lambda: _file(
            _key("k", 9, struct.pack("<IQ", 8, 900_000) + (struct.pack("<Q", 9) + b"\xc3\xa9" * 4 + b"x") * 900_000)
        ),
    ],
    ids=["tensors", "keys", "floats", "bytes that are no text", "strings", "many strings"],
)
def test_read_gguf_largest_files_stay_below_fifty_megabytes(tmp_path: Path, make: Callable[[], bytes]) -> None:
    """What is allowed at most, or refused on the way there, takes little memory."""
    path = tmp_path / "large.gguf"
    path.write_bytes(make())
    done = subprocess.run([sys.executable, "-c", _PEAK, path], cwd=REPOSITORY, capture_output=True, check=True)
    assert 0 <= int(done.stdout) < 50 << 10
