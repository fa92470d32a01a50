"""What we add to llama.cpp's library reads and clears as llama.cpp itself does."""

import ctypes
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import gguf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.engine import build_from
from tests.support.ggml import ggml

pytestmark = pytest.mark.skipif(
    not build_from().kernels or platform.machine() != "x86_64" or not sys.platform.startswith("linux"),
    reason="built without our kernels, which are for x86-64 under Linux",
)

_PART_BYTES = 4 << 20
_LOGGED = 40
_KINDS = gguf.GGUFValueType
_ARRAYS: dict[str, tuple[_KINDS, list[object]]] = {
    "one": (_KINDS.UINT64, [2**64 - 1]),
    "exactly": (_KINDS.STRING, ["x" * (_LOGGED - 4)]),
    "one_more": (_KINDS.STRING, ["x" * (_LOGGED - 3)]),
    "odd": (_KINDS.STRING, ['a"b', "c\\d", "e\nf", "", "é"]),
    "texts": (_KINDS.STRING, [f"text {number}" for number in range(1000)]),
    "bytes": (_KINDS.UINT8, list(range(256))),
    "signed_bytes": (_KINDS.INT8, list(range(-128, 128))),
    "shorts": (_KINDS.UINT16, [0, 65535] * 9),
    "signed_shorts": (_KINDS.INT16, [-32768, 32767] * 9),
    "unsigned": (_KINDS.UINT32, [2**32 - 1, 0] * 9),
    "signed": (_KINDS.INT32, [-(2**31), 2**31 - 1] * 9),
    "signed_long": (_KINDS.INT64, [-(2**63), 2**63 - 1]),
    "floats": (_KINDS.FLOAT32, [0.5, -1.25, 1e6] * 9),
    "doubles": (_KINDS.FLOAT64, [0.1, -2.5e9]),
    "truths": (_KINDS.BOOL, [True, False] * 20),
}
_LOADER = """
import ctypes, sys, llama_cpp
log = llama_cpp.llama_log_callback(lambda level, text, data: sys.stdout.buffer.write(text))
llama_cpp.llama_log_set(log, ctypes.c_void_p(0))
llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), llama_cpp.llama_model_default_params())
"""


@cache
def _library() -> ctypes.CDLL:
    """Give llama.cpp's own library, of which ggml's are parts."""
    return ctypes.CDLL(str(Path(ggml().base._name).with_name("libllama.so")))


def _text_of(kind: _KINDS, value: object) -> str:
    match kind:
        case _KINDS.STRING:
            escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
        case _KINDS.FLOAT32 | _KINDS.FLOAT64:
            return f"{value:f}"
        case _KINDS.BOOL:
            return "true" if value else "false"
        case _:
            return str(value)


def _logged(kind: _KINDS, values: list[object]) -> bytes:
    whole = f"[{', '.join(_text_of(kind, value) for value in values)}]".encode()
    return (whole if len(whole) <= _LOGGED else whole[: _LOGGED - 3] + b"...").replace(b"\n", b"\\n")


def test_arrays_are_logged_as_llama_cpp_logs_them(tmp_path: Path) -> None:
    """Of every type, short, as long as the log shows and longer: the line is the same."""
    path = tmp_path / "arrays.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for name, (kind, values) in _ARRAYS.items():
        writer.add_key_value(name, values, _KINDS.ARRAY, sub_type=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    done = subprocess.run([sys.executable, "-c", _LOADER, str(path)], capture_output=True, check=True)
    lines = [line.split(b" = ", 1) for line in done.stdout.splitlines() if b"- kv" in line]
    logged = {start.split()[-2].decode(): value for start, value in lines}
    expected = {name: _logged(kind, values) for name, (kind, values) in _ARRAYS.items()}
    assert {name: value for name, value in logged.items() if name in expected} == expected


@given(
    text=st.one_of(
        st.from_regex(r"\A(blk\.[0-9]{1,12}\.[a-z_.]{0,9}|[a-z.]{0,9})\Z"),
        st.text(alphabet="blk.0123 -+", max_size=12),
    )
)
@example(text="blk.2147483647.x")
@example(text="blk.")
@example(text="blk")
def test_layers_are_read_as_by_sscanf(text: str) -> None:
    """Names of layers, of none, cut off, with numbers of many digits: the same result and the same number."""
    ours, theirs = ctypes.c_int(-1), ctypes.c_int(-1)
    found = _library().__getattr__("__wrap___isoc99_sscanf")(text.encode(), b"blk.%d.", ctypes.byref(ours))
    assert found == ctypes.CDLL(None).sscanf(text.encode(), b"blk.%d.", ctypes.byref(theirs))
    assert ours.value == theirs.value


def test_other_patterns_are_for_sscanf() -> None:
    """It gets all arguments."""
    first, second = ctypes.c_int(), ctypes.c_int()
    scan = _library().__getattr__("__wrap___isoc99_sscanf")
    assert scan(b"7 of 9", b"%d of %d", ctypes.byref(first), ctypes.byref(second)) == 2
    assert (first.value, second.value) == (7, 9)


@pytest.mark.parametrize("size", [0, 1, _PART_BYTES - 1, 2 * _PART_BYTES, 2 * _PART_BYTES + 1, 9 * _PART_BYTES + 77])
def test_buffers_are_cleared_whole(size: int) -> None:
    """To the last byte, however many threads share it."""
    base, clear = ggml().base, _library().__getattr__("__wrap_ggml_backend_buffer_clear")
    for function in (base.ggml_backend_cpu_buffer_type, base.ggml_backend_buft_alloc_buffer):
        function.restype = ctypes.c_void_p
    base.ggml_backend_buffer_get_base.restype = ctypes.c_void_p
    kind = ctypes.c_void_p(base.ggml_backend_cpu_buffer_type())
    buffer = ctypes.c_void_p(base.ggml_backend_buft_alloc_buffer(kind, ctypes.c_size_t(size)))
    try:
        clear(buffer, 7)
        data = base.ggml_backend_buffer_get_base(buffer)
        assert ctypes.string_at(data, size) == b"\7" * size if size else data is None
    finally:
        base.ggml_backend_buffer_free(buffer)
