"""The tokens of llama-server, built from the same llama.cpp: greedy however ours came by its cells, and sampled."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from actors.messages.job import SamplingOptions
from actors.messages.model import LoadPlan
from actors.messages.runner_to_gateway import Delta, Finished
from runners.jobs import PreparedJob, Shift
from runners.llama.binding import start_backend
from runners.saved import SavedSequences
from runners.tier import Tier
from tests.support.engine_bench import GREEDY, Bench
from tests.support.llama_server import llama_server

pytestmark = pytest.mark.model

N_TOKENS = 48
N_SAMPLED = 24  # each further one may fall on the other side of a threshold by rounding
STORY = "Once there was a river that ran to the sea, and the sea was wide and blue, and the wind sang. " * 5
MIB = 1 << 20


@pytest.fixture
def server(tiny_gguf: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    """llama-server with one slot, which shifts a full context."""
    options = ("-c", "1024", "-np", "1", "--context-shift", "-fa", "off")
    with llama_server(tiny_gguf, *options, log=tmp_path / "log") as client:
        yield client


@pytest.fixture
def bench(tiny_gguf: Path, tmp_path: Path) -> Iterator[Bench]:
    """An engine with a tier."""
    start_backend()
    bench = opened(tiny_gguf, tmp_path)
    yield bench
    bench.close()


def opened(path: Path, folder: Path) -> Bench:
    """Open an engine of the tiny model over what an earlier one has left."""
    disk = SavedSequences(folder / "kv", "tiny", limit_bytes=64 * MIB)
    plan = LoadPlan(num_ctx=1024, n_slots=4, n_batch=64, flash_attention=False)
    return Bench(path, plan, tier=Tier(memory_bytes=64 * MIB, disk=disk))


def theirs(server: httpx.Client, job: PreparedJob, **options: Any) -> list[int]:
    """Ask llama-server for the same."""
    wish = {"prompt": job.prompt, "n_predict": job.max_new_tokens, "return_tokens": True, "temperature": 0}
    tokens: list[int] = server.post("/completion", json=wish | options).raise_for_status().json()["tokens"]
    return tokens


def expect_equal(bench: Bench, server: httpx.Client, *jobs: PreparedJob) -> None:
    """Compare the answers to finished jobs; llama-server does not show the token that ends one."""
    for job in jobs:
        ours = bench.tokens(job.ref.job_id)
        expected = theirs(server, job)
        assert ours[: len(expected)] == expected
        assert len(ours) - len(expected) in {0, 1}


def run(bench: Bench, *jobs: PreparedJob) -> None:
    """Run jobs side by side."""
    for job in jobs:
        assert bench.engine.admit(job)
    bench.run()


def test_tokens_alone_batched_and_of_a_shared_prefix(bench: Bench, server: httpx.Client) -> None:
    """One job; four at once; four that come together and begin alike, one of which evaluates for all."""
    alone = bench.job("alone", "Why is the sky blue?", n_tokens=N_TOKENS)
    batched = [bench.job(f"batched{n}", f"Count to {n}.", n_tokens=N_TOKENS) for n in range(4)]
    shared = [bench.job(f"shared{n}", f"{STORY} Question {n}: what ran?", n_tokens=N_TOKENS) for n in range(4)]
    for jobs in ([alone], batched, shared):
        run(bench, *jobs)
    assert min(bench.finished(job.ref.job_id).cached_tokens for job in shared[1:]) > 60
    expect_equal(bench, server, alone, *batched, *shared)


def test_tokens_restored_from_memory_and_from_disk(
    bench: Bench, server: httpx.Client, tiny_gguf: Path, tmp_path: Path
) -> None:
    """A conversation whose slot went to others, and one whose runner has ended."""
    first = bench.job("first", STORY + "What ran?", n_tokens=N_TOKENS)
    run(bench, first)
    for n in range(8):
        run(bench, bench.job(f"other{n}", f"{n} birds fly over hills. " * 12, n_tokens=2))
    memory = bench.job("memory", STORY + "What sang?", n_tokens=N_TOKENS)
    run(bench, memory)
    assert bench.finished("memory").cached_tokens > 60
    expect_equal(bench, server, first, memory)
    bench.engine.close()
    fresh = opened(tiny_gguf, tmp_path)
    disk = fresh.job("disk", STORY + "What was blue?", n_tokens=N_TOKENS)
    run(fresh, disk)
    assert fresh.finished("disk").cached_tokens > 60
    expect_equal(fresh, server, disk)
    fresh.close()


def test_tokens_behind_a_shift(bench: Bench, tiny_gguf: Path, tmp_path: Path) -> None:
    """The same tokens go at the same moment."""
    num_ctx = 256  # the least that llama-server takes
    sampling = SamplingOptions(temperature=0, ignore_eos=True)
    job = bench.job("shifted", "Tell me a long story.", n_tokens=400)
    shifted = dataclasses.replace(job, sampling=sampling, shift=Shift(num_ctx=num_ctx, n_keep=8))
    run(bench, shifted)
    assert any("dropped" in warning for warning in bench.finished("shifted").warnings)
    options = ("-c", str(num_ctx), "-np", "1", "--context-shift", "-fa", "off")
    with llama_server(tiny_gguf, *options, log=tmp_path / "log") as server:
        assert theirs(server, job, ignore_eos=True, n_keep=8) == bench.tokens("shifted")


BASE = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repeat_penalty": 1.0,
    "seed": 7,
    "ignore_eos": True,
    "repeat_last_n": 64,
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.6},
        {"top_k": 5},
        {"top_p": 0.5},
        {"min_p": 0.1},
        {"typical_p": 0.5},
        {"top_n_sigma": 1.0},
        {"xtc_probability": 0.7, "xtc_threshold": 0.05},
        {"dynatemp_range": 0.5, "dynatemp_exponent": 1.4},
        {"repeat_penalty": 1.5, "repeat_last_n": 20},
        {"presence_penalty": 1.2, "frequency_penalty": 0.8},
        {"dry_multiplier": 2.0, "dry_base": 1.9, "dry_allowed_length": 1, "dry_penalty_last_n": 100},
        {"mirostat": 1, "mirostat_tau": 3.0, "mirostat_eta": 0.2},
        {"mirostat": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2},
        {"top_k": 30, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.9, "top_n_sigma": 2.0, "temperature": 1.3},
        {"top_p": 0.3, "min_p": 0.3, "min_keep": 6, "xtc_probability": 0.5, "xtc_threshold": 0.02},
        {"repeat_penalty": 1.3, "dry_multiplier": 1.0, "top_k": 20, "dynatemp_range": 0.3, "temperature": 0.9},
        {"temperature": 0, "repeat_penalty": 1.4, "presence_penalty": 0.5},
    ],
    ids=lambda options: ",".join(options) or "plain",
)
def test_tokens_sampled_with_the_same_seed(bench: Bench, server: httpx.Client, options: dict[str, Any]) -> None:
    """Each sampler alone and several together: the same order, the same windows, the same random numbers."""
    given = BASE | options
    sampling = msgspec.convert({**msgspec.to_builtins(GREEDY), **given}, SamplingOptions, strict=False)
    job = dataclasses.replace(bench.job("sampled", "Tell me a story.", n_tokens=N_SAMPLED), sampling=sampling)
    run(bench, job)
    assert bench.tokens("sampled") == theirs(server, job, cache_prompt=False, **given)


def test_log_probabilities_are_llama_servers(bench: Bench, server: httpx.Client) -> None:
    """Of each token and of the likeliest beside it, before any sampler."""
    job = dataclasses.replace(bench.job("a", "Hello", n_tokens=8), top_logprobs=3)
    run(bench, job)
    ours = [each for part in bench.parts if isinstance(part, Delta | Finished) for each in part.logprobs]
    wish = {"prompt": job.prompt, "n_predict": 8, "temperature": 0, "n_probs": 3}
    expected = server.post("/completion", json=wish).raise_for_status().json()["completion_probabilities"]
    assert len(ours) >= len(expected) > 0
    for mine, other in zip(ours, expected, strict=False):
        assert mine.logprob == pytest.approx(other["logprob"], abs=0.02)
        likeliest = [entry["logprob"] for entry in other["top_logprobs"]]
        assert [logprob for _, logprob in mine.top] == pytest.approx(likeliest, abs=0.02)
        assert list(mine.top[0][0]) == other["top_logprobs"][0]["bytes"]
