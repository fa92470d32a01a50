"""What a runner hears of its load from llama.cpp."""

from pathlib import Path

import pytest

from actors.messages.model import LoadPlan
from runners.llama.binding import start_backend
from runners.llama.model import Model

pytestmark = pytest.mark.model


def test_model_tells_how_far_its_load_is(tiny_gguf: Path) -> None:
    """Growing fractions up to the whole, each percent once."""
    start_backend()
    told: list[float] = []
    Model(str(tiny_gguf), LoadPlan(num_ctx=512, n_slots=1), told.append).close()
    assert told[-1] == 1.0
    assert told == sorted(told)
    assert len({int(fraction * 100) for fraction in told}) == len(told)
