"""Experts on the host, with a real model that has none: llama.cpp takes the list, and the answers stay the same."""

from pathlib import Path

import pytest

from actors.messages.model import LoadPlan
from runners.llama.binding import load_error, start_backend
from runners.llama.model import Model
from runners.llama.offload import experts_on_host

pytestmark = pytest.mark.model


def test_experts_on_host_names_the_first_layers_and_ends() -> None:
    """One pattern per layer, then an empty one."""
    assert experts_on_host(LoadPlan(num_ctx=1, n_slots=1)) is None
    overrides = experts_on_host(LoadPlan(num_ctx=1, n_slots=1, n_expert_layers_on_host=2))
    first, second = (rf"blk\.{n}\.ffn_(up|down|gate|gate_up)_(ch|)exps".encode() for n in (0, 1))
    assert [each.pattern for each in overrides] == [first, second, None]


def test_model_with_experts_on_host_loads(tiny_gguf: Path) -> None:
    """The patterns reach llama.cpp, which finds nothing to move in a model without experts."""
    start_backend()
    model = Model(str(tiny_gguf), LoadPlan(num_ctx=64, n_slots=1, n_expert_layers_on_host=2))
    assert model.n_vocab > 0
    model.close()


@pytest.mark.parametrize(
    ("complaint", "code"),
    [
        ("alloc_tensor_range: failed to allocate CPU buffer of size 99", "load_out_of_memory"),
        ("CUDA error: out of memory", "load_out_of_memory"),
        ("unknown model architecture: 'x'", "load_failed"),
    ],
)
def test_load_error_tells_a_lack_of_memory_apart(monkeypatch: pytest.MonkeyPatch, complaint: str, code: str) -> None:
    """By llama.cpp's own words."""
    monkeypatch.setattr("runners.llama.binding._last_errors", [complaint])
    error = load_error("it failed", remedy="; try less")
    assert error.code == code
    assert error.message == f"it failed: {complaint}; try less"
