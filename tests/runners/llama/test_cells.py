"""Conversion of saved sequences between cache layouts, on states that llama.cpp wrote and on states made up."""

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import DecodeFailed
from actors.messages.model import LoadPlan
from runners.llama.batch import Batch
from runners.llama.binding import start_backend
from runners.llama.cells import BF16, F16, convert, n_streams_of, with_streams
from runners.llama.context import Context
from runners.llama.layout import LLAMA_CPPS, LONG, SHORT, layout_for
from runners.llama.model import Model
from tests.support.tiny_text import copy_with

PLAN = LoadPlan(num_ctx=1024, n_slots=2, n_threads=2)


def test_convert_real_state_there_and_back_is_unchanged(tiny_gguf: Path) -> None:
    """bf16 fits into f16 in a model's usual range, so a sequence survives the way to the other layout and back."""
    start_backend()
    model = Model(str(tiny_gguf), PLAN)
    context = Context(model, PLAN, num_ctx=512, layout=SHORT)
    batch = Batch(64)
    batch.add(list(range(40)), position=0, sequence=1, output_last=False)
    context.decode(batch)
    state = context.state(1)
    there = convert(state, value_type=F16, transposed=True)
    larger = Context(model, PLAN, layout=LONG)
    assert larger.restore(1, there)
    assert larger.state(1) == there
    assert convert(there, value_type=BF16, transposed=False) == state
    for opened in (context, larger):
        opened.close()
    model.close()


@pytest.mark.parametrize("n_slots", [1, 3, 8])
def test_restore_takes_a_state_of_a_cache_with_other_slots(tiny_gguf: Path, n_slots: int) -> None:
    """A conversation comes back into a cache of one slot or of eight, whichever it was kept from."""
    start_backend()
    plan = LoadPlan(num_ctx=512, n_slots=8, n_threads=2)
    model = Model(str(tiny_gguf), plan)
    first = Context(model, plan, n_slots=4)
    other = Context(model, plan, n_slots=n_slots)
    batch = Batch(64)
    batch.add(list(range(40)), position=0, sequence=0, output_last=False)
    first.decode(batch)
    state = first.state(0)
    assert other.restore(0, state)
    moved = other.state(0)
    assert n_streams_of(moved) == n_slots
    assert with_streams(moved, 4) == state
    for opened in (first, other):
        opened.close()
    model.close()


def test_with_streams_cut_state_is_refused(tiny_gguf: Path) -> None:
    """A state that ends early is no state, wherever it ends."""
    start_backend()
    model = Model(str(tiny_gguf), PLAN)
    context = Context(model, PLAN)
    batch = Batch(64)
    batch.add([1, 2, 3], position=0, sequence=1, output_last=False)
    context.decode(batch)
    state = context.state(1)
    context.close()
    model.close()
    for end in range(9, len(state), 97):
        with pytest.raises(DecodeFailed):
            with_streams(state[:end], 1)


def test_convert_cut_state_is_refused(tiny_gguf: Path) -> None:
    """A state that ends early is no state."""
    start_backend()
    model = Model(str(tiny_gguf), PLAN)
    context = Context(model, PLAN)
    batch = Batch(64)
    batch.add([1, 2, 3], position=0, sequence=0, output_last=False)
    context.decode(batch)
    state = context.state(0)
    context.close()
    model.close()
    with pytest.raises(DecodeFailed):
        convert(state[:-1], value_type=BF16, transposed=False)


def test_convert_quantized_values_are_refused() -> None:
    """Only types that hold one number per element have another order."""
    state = struct.pack("<IiIIiIiIIiQiQ", 0, 0, 1, 1, 0, 1, 0, 0, 1, F16, 0, 8, 34)
    with pytest.raises(DecodeFailed, match="type 8"):
        convert(state, value_type=F16, transposed=True)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_convert_arbitrary_bytes_end_in_bytes_or_an_error(state: bytes) -> None:
    """Whatever the bytes are, nothing but the one error comes of it."""
    with contextlib.suppress(DecodeFailed):
        convert(state, value_type=F16, transposed=True)


def test_layout_for_length_decides_and_devices_keep_llama_cpps(tiny_gguf: Path) -> None:
    """Short and long caches differ on a processor; layers on a device leave llama.cpp its own choice."""
    start_backend()
    model = Model(str(tiny_gguf), PLAN)
    on_device = LoadPlan(num_ctx=1024, n_slots=2, n_gpu_layers=1)
    layouts = [layout_for(model, plan, num_ctx=size) for plan, size in ((PLAN, 512), (PLAN, 1024), (on_device, 512))]
    model.close()
    assert layouts in ([SHORT, LONG, LLAMA_CPPS], [LLAMA_CPPS] * 3)


@pytest.mark.parametrize("key", ["llama.attention.kv_lora_rank", "llama.ple.ngram_size"])
def test_layout_of_cells_with_more_in_them_is_one_for_all_lengths(tiny_gguf: Path, tmp_path: Path, key: str) -> None:
    """Latent attention and per-layer token embeddings store other cells, which nothing here can convert."""
    path = copy_with(tiny_gguf, tmp_path / "other.gguf", **{key: 3})
    start_backend()
    model = Model(str(path), PLAN)
    layouts = {layout_for(model, PLAN, num_ctx=size) for size in (512, 1024)}
    model.close()
    assert layouts == {LLAMA_CPPS}
