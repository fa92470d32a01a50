"""The engine with other types of KV cache: its tokens are those of a bare llama.cpp loop with the same type."""

from pathlib import Path

import pytest

from actors.errors import LoadFailed
from actors.messages.model import LoadPlan
from runners.growing_context import FIRST_NUM_CTX
from runners.llama.binding import start_backend
from runners.llama.layout import Layout
from tests.support.engine_bench import Bench
from tests.support.oracle import first_difference, greedy_answer

pytestmark = pytest.mark.model

TYPES = {"f32": 0, "f16": 1, "bf16": 30, "q8_0": 8, "q4_0": 2}


@pytest.mark.parametrize("name", sorted(TYPES))
def test_engine_with_a_cache_type_gives_llama_cpps_tokens(tiny_gguf: Path, name: str) -> None:
    """Also after the cache has grown, which moves the cells as they are stored."""
    start_backend()
    bench = Bench(tiny_gguf, LoadPlan(num_ctx=1024, n_slots=2, kv_cache_type=name))
    short = bench.job("short", "Why is the sky blue?", n_tokens=24)
    long = bench.job("long", "Count to nine. " * 80, n_tokens=8)
    assert len(long.prompt) > FIRST_NUM_CTX
    assert bench.engine.admit(short)
    for _ in range(5):
        bench.engine.step()
    assert bench.engine.admit(long)
    bench.run()
    found = {job.ref.job_id: bench.tokens(job.ref.job_id) for job in (short, long)}
    bench.close()
    for job in (short, long):
        layout = Layout(-1, TYPES[name], TYPES[name])
        answer = greedy_answer(tiny_gguf, job.prompt, n_tokens=job.max_new_tokens, layout=layout)
        assert first_difference(answer, found[job.ref.job_id]) is None


@pytest.mark.parametrize("flash_attention", [True, False])
def test_engine_with_and_without_flash_attention_gives_llama_cpps_tokens(
    tiny_gguf: Path, *, flash_attention: bool
) -> None:
    """Both ways are the same arithmetic, but for rounding."""
    start_backend()
    bench = Bench(tiny_gguf, LoadPlan(num_ctx=256, n_slots=1, flash_attention=flash_attention))
    job = bench.job("a", "Why is the sky blue?", n_tokens=24)
    assert bench.engine.admit(job)
    bench.run()
    tokens = bench.tokens("a")
    bench.close()
    layout = Layout(int(flash_attention), TYPES["f16"], TYPES["f16"])
    assert first_difference(greedy_answer(tiny_gguf, job.prompt, n_tokens=24, layout=layout), tokens) is None


def test_engine_cache_that_llama_cpp_refuses_names_the_setting(tiny_gguf: Path) -> None:
    """A combination that gets past the settings fails the load with the reason and what to change."""
    start_backend()
    with pytest.raises(LoadFailed, match=r"requires flash_attn.*OLLAMA_KV_CACHE_TYPE=q8_0"):
        Bench(tiny_gguf, LoadPlan(num_ctx=256, n_slots=1, kv_cache_type="q8_0", flash_attention=False))
