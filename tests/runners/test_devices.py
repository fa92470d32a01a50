"""Plans about devices: on a machine without any they reach llama.cpp and change nothing.

What they do on a device is not tested: no machine with one was at hand.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.messages.model import LoadPlan
from runners.llama.binding import native, start_backend
from runners.llama.layout import LLAMA_CPPS
from tests.support.engine_bench import Bench
from tests.support.oracle import first_difference, greedy_answer

pytestmark = pytest.mark.model

PLAN = LoadPlan(num_ctx=256, n_slots=1)


@pytest.mark.parametrize(
    "change",
    [
        {"n_gpu_layers": 0, "main_gpu": 0},
        {"n_gpu_layers": 99},
        {"n_gpu_layers": 99, "main_gpu": 0},
        {"n_gpu_layers": 2, "tensor_split": (0.25, 0.75)},
        {"n_gpu_layers": 99, "kv_on_device": False},
    ],
    ids=str,
)
def test_engine_with_a_plan_for_devices_gives_llama_cpps_tokens(tiny_gguf: Path, change: dict[str, Any]) -> None:
    """Layers, one device, several, and where the cache is to be."""
    start_backend()
    if native.llama_supports_gpu_offload():
        pytest.skip("this llama.cpp was built for devices")
    plan = msgspec.structs.replace(PLAN, **change)
    bench = Bench(tiny_gguf, plan)
    job = bench.job("a", "Why is the sky blue?", n_tokens=16)
    assert bench.engine.admit(job)
    bench.run()
    tokens = bench.tokens("a")
    bench.close()
    layout = None if plan.n_gpu_layers == 0 else LLAMA_CPPS
    assert first_difference(greedy_answer(tiny_gguf, job.prompt, n_tokens=16, layout=layout), tokens) is None
