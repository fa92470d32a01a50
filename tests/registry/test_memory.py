"""What loaded models take, computed from headers: against llama.cpp's own figures where there are models."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.messages.model import LoadPlan
from actors.messages.runner_to_scheduler import RunnerReady
from registry.gguf import read_gguf
from registry.memory import CacheNeeds, cache_needs, compute_bytes, host_overhead_bytes, layer_bytes
from runners.llama.binding import start_backend
from runners.llama.context import Context
from runners.llama.model import Model
from tests.support.runner_bench import loading_bench

WriteGguf = Callable[..., Path]
_BUFFER = re.compile(r"CPU (KV|compute) buffer size =\s*([\d.]+) MiB")
_MIB = 1 << 20


@pytest.fixture(params=["tiny", "smollm2", "minilm", "gemma3"])
def real_model(request: pytest.FixtureRequest, tiny_gguf: Path) -> Path:
    """One of the models at hand; skips where it is absent."""
    if request.param == "tiny":
        return tiny_gguf
    if request.param == "minilm":
        found: Path = request.getfixturevalue("minilm_gguf")
        return found
    if request.param == "gemma3":
        gemma: Path = request.getfixturevalue("gemma3_gguf")
        return gemma
    smol: Path = request.getfixturevalue("smollm2_gguf")
    return smol


@pytest.mark.model
@pytest.mark.parametrize(
    ("num_ctx", "n_slots", "n_batch", "cache"),
    [(512, 1, 512, None), (2048, 4, 512, None), (1024, 2, 128, "q8_0"), (1000, 3, 256, "q4_0")],
)
def test_estimates_are_what_llama_cpp_allocates(  # noqa: PLR0917 - fixtures and parameters
    real_model: Path, num_ctx: int, n_slots: int, n_batch: int, cache: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Cache to the byte, compute buffers within a tenth, whichever attention the runner chose."""
    plan = LoadPlan(num_ctx=num_ctx, n_slots=n_slots, n_batch=n_batch, kv_cache_type=cache)
    start_backend()
    with caplog.at_level(logging.DEBUG, logger="llama.cpp"):
        model = Model(str(real_model), plan)
        context = Context(model, plan)
    context.close()
    model.close()
    measured = {"KV": 0.0, "compute": 0.0}
    for kind, size in _BUFFER.findall(caplog.text):
        measured[kind] += float(size) * _MIB
    gguf = read_gguf(real_model)
    types = {} if cache is None else {"key_type": cache, "value_type": cache}
    needed = cache_needs(gguf, **types).total_bytes(num_ctx=num_ctx, n_slots=n_slots)
    assert needed == pytest.approx(measured["KV"], abs=_MIB / 50)
    flash = re.search(r"flash_attn\s+= disabled", caplog.text) is None
    compute = compute_bytes(gguf, num_ctx=num_ctx, n_batch=n_batch, flash_attention=flash)
    assert compute == pytest.approx(measured["compute"], rel=0.1)


@pytest.mark.model
@pytest.mark.processes
async def test_estimate_is_what_a_runner_measures(real_model: Path, run_dir: Path) -> None:
    """Weights, cache and the rest together, within a tenth of what the process takes when it is ready."""
    gguf = read_gguf(real_model)
    needs = cache_needs(gguf)
    if not needs.bytes_per_token:
        pytest.skip("the bench has no runner that embeds")
    bench = loading_bench(run_dir, real_model, kv_bytes_per_token=needs.whole_bytes_per_token)
    async with bench as runner:
        ready = await runner.hear(RunnerReady)
    cache = needs.total_bytes(num_ctx=1024, n_slots=2)
    estimate = gguf.size_bytes + cache + host_overhead_bytes(gguf, num_ctx=1024)
    assert estimate == pytest.approx(ready.size_bytes, rel=0.1)


def _gemma(write_gguf: WriteGguf, **fields: object) -> Path:
    return write_gguf(
        architecture="gemma3",
        gemma3__block_count=18,
        gemma3__embedding_length=640,
        gemma3__attention__head_count=4,
        gemma3__attention__head_count_kv=1,
        gemma3__attention__key_length=256,
        gemma3__attention__value_length=256,
        gemma3__attention__sliding_window=512,
        **fields,
    )


def test_cache_needs_sliding_window_keeps_the_window(write_gguf: WriteGguf) -> None:
    """Gemma 3 270M: every sixth layer sees all; figures are those that llama.cpp logs, 4 slots of 4,096."""
    needs = cache_needs(read_gguf(_gemma(write_gguf)))
    assert needs == CacheNeeds(3 * 1024, 15 * 1024, 512)
    assert needs.total_bytes(num_ctx=4096, n_slots=4) == (48 + 240) * _MIB
    assert needs.total_bytes(num_ctx=4096, n_slots=4, keeps_windows_whole=False) == (48 + 60) * _MIB


def test_cache_needs_window_pattern_of_the_file_wins(write_gguf: WriteGguf) -> None:
    """A number, or one value for each layer."""
    every = read_gguf(_gemma(write_gguf, gemma3__attention__sliding_window_pattern=2))
    assert cache_needs(every).bytes_per_token == 9 * 1024
    listed = read_gguf(_gemma(write_gguf, gemma3__attention__sliding_window_pattern=[True] * 17 + [False]))
    assert cache_needs(listed).bytes_per_token == 1024


@pytest.mark.parametrize(("kind", "bytes_per_token"), [("f32", 2048), ("f16", 1024), ("q8_0", 544), ("q4_0", 288)])
def test_cache_needs_types_of_the_cache(write_gguf: WriteGguf, kind: str, bytes_per_token: int) -> None:
    """Blocks count with their scales."""
    needs = cache_needs(read_gguf(_gemma(write_gguf)), key_type=kind, value_type=kind)
    assert needs.bytes_per_token == 3 * bytes_per_token


def test_cache_needs_latent_attention_keeps_one_key_and_no_value(write_gguf: WriteGguf) -> None:
    """DeepSeek: 512 compressed and 64 rotated, for all heads together."""
    path = write_gguf(
        architecture="deepseek2",
        deepseek2__block_count=27,
        deepseek2__embedding_length=2048,
        deepseek2__attention__head_count=16,
        deepseek2__attention__head_count_kv=1,
        deepseek2__attention__key_length=576,
        deepseek2__attention__value_length=512,
        deepseek2__attention__key_length_mla=192,
        deepseek2__attention__value_length_mla=128,
    )
    assert cache_needs(read_gguf(path)) == CacheNeeds(27 * 576 * 2)


def test_cache_needs_recurrent_layers_keep_a_state(write_gguf: WriteGguf) -> None:
    """Mamba keeps only that; a hybrid has it beside attention."""
    mamba = write_gguf(
        "mamba.gguf",
        architecture="mamba",
        mamba__block_count=24,
        mamba__embedding_length=768,
        mamba__attention__head_count=0,
        mamba__ssm__conv_kernel=4,
        mamba__ssm__inner_size=1536,
        mamba__ssm__state_size=16,
    )
    state = 24 * (3 * 1536 + 16 * 1536) * 4
    assert cache_needs(read_gguf(mamba)) == CacheNeeds(0, state_bytes=state)
    assert cache_needs(read_gguf(mamba)).total_bytes(num_ctx=99999, n_slots=2) == 2 * state
    hybrid = write_gguf(
        "hybrid.gguf",
        architecture="jamba",
        jamba__block_count=3,
        jamba__embedding_length=64,
        jamba__attention__head_count=4,
        jamba__attention__head_count_kv=[0, 2, 0],
        jamba__ssm__conv_kernel=4,
        jamba__ssm__inner_size=128,
        jamba__ssm__state_size=16,
    )
    assert cache_needs(read_gguf(hybrid)) == CacheNeeds(2 * 32 * 2, state_bytes=2 * (3 * 128 + 16 * 128) * 4)


def test_layer_bytes_add_up_to_the_file(tiny_gguf: Path) -> None:
    """Each tensor is counted once, with its layer or with none."""
    gguf = read_gguf(tiny_gguf)
    layers, others = layer_bytes(gguf)
    assert len(layers) == 4
    assert len(set(layers)) == 1
    assert sum(layers) + others == sum(tensor.size_bytes for tensor in gguf.tensors)


def test_host_overhead_grows_with_the_vocabulary(tiny_gguf: Path, minilm_gguf: Path) -> None:
    """A process, its tokens, and the work of a batch."""
    assert (
        56 * _MIB < host_overhead_bytes(read_gguf(tiny_gguf)) < host_overhead_bytes(read_gguf(minilm_gguf)) < 80 * _MIB
    )
