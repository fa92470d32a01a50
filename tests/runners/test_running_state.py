"""Models with a running state, alone and beside attention: never a wrong token, however much of a prompt is reused.

A state is that after its last token, so a conversation that goes on may keep it and one that parts from it may not.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.messages.model import JobRef, LoadPlan
from runners.jobs import PreparedJob
from runners.llama.binding import start_backend
from runners.llama.layout import LLAMA_CPPS
from runners.saved import SavedSequences
from runners.tier import Tier
from tests.support.engine_bench import Bench, greedy_job
from tests.support.llama_server import llama_server
from tests.support.oracle import greedy_answer
from tests.support.tiny_text import write_falcon_h1, write_mamba

pytestmark = pytest.mark.model

PLAN = LoadPlan(num_ctx=1024, n_slots=3, n_batch=128)
MIB = 1 << 20
N_TOKENS = 16
STORY = "Once there was a river that ran to the sea, and the sea was wide. " * 4


@pytest.fixture(params=[write_mamba, write_falcon_h1])
def model(request: pytest.FixtureRequest, tmp_path: Path, tiny_gguf: Path) -> Path:
    """A tiny model of each kind."""
    write: Callable[[Path, Path], Path] = request.param
    return write(tmp_path / "model.gguf", tiny_gguf)


@pytest.fixture
def bench(model: Path, tmp_path: Path) -> Iterator[Bench]:
    """An engine of it with a tier."""
    start_backend()
    bench = Bench(model, PLAN, tier=tier(tmp_path))
    assert bench.model.keeps_state
    yield bench
    bench.close()


def tier(folder: Path) -> Tier:
    """Open a tier with a disk below."""
    return Tier(memory_bytes=64 * MIB, disk=SavedSequences(folder / "kv", "state", limit_bytes=64 * MIB))


def job(name: str, prompt: list[int]) -> PreparedJob:
    """Prepare a greedy answer."""
    return greedy_job(name, prompt, n_tokens=N_TOKENS)


def run(bench: Bench, *jobs: PreparedJob) -> None:
    """Run jobs side by side."""
    for each in jobs:
        assert bench.engine.admit(each)
    bench.run()


def expect_right(bench: Bench, model: Path, *jobs: PreparedJob) -> None:
    """Compare answers with llama.cpp's own, token by token."""
    for each in jobs:
        answer = greedy_answer(model, each.prompt, n_tokens=N_TOKENS, layout=LLAMA_CPPS)
        assert bench.tokens(each.ref.job_id) == answer.tokens


def test_state_alone_and_in_a_batch(bench: Bench, model: Path) -> None:
    """One job, then three of different lengths, one of them in several chunks."""
    alone = bench.job("alone", "Hello", n_tokens=N_TOKENS)
    run(bench, alone)
    jobs = [bench.job(str(n), text, n_tokens=N_TOKENS) for n, text in enumerate(("Why?", STORY, "Count to five."))]
    run(bench, *jobs)
    expect_right(bench, model, alone, *jobs)


def test_state_of_a_conversation_that_goes_on_is_used(bench: Bench, model: Path) -> None:
    """The next turn begins where the last one ended, and evaluates nothing twice."""
    first = bench.job("first", STORY, n_tokens=N_TOKENS)
    run(bench, first)
    second = job("second", [*first.prompt, *bench.tokens("first"), *bench.model.tokenize("Why?", add_special=False)])
    run(bench, second)
    assert bench.finished("second").cached_tokens == len(first.prompt) + N_TOKENS - 1
    expect_right(bench, model, second)


def test_state_of_a_conversation_that_parts_is_not(bench: Bench, model: Path) -> None:
    """Another question about the same text, the same question again, and one behind half of the answer."""
    first = bench.job("first", STORY + "What ran?", n_tokens=N_TOKENS)
    run(bench, first)
    half = job("half", [*first.prompt, *bench.tokens("first")[: N_TOKENS // 2]])
    other = bench.job("other", STORY + "What was wide?", n_tokens=N_TOKENS)
    again = dataclasses.replace(first, ref=JobRef("again", 1, "gw"))
    run(bench, other)
    run(bench, again)
    run(bench, half)
    expect_right(bench, model, other, again, half)


def test_state_shared_by_new_jobs_is_evaluated_by_each(bench: Bench, model: Path) -> None:
    """Jobs that come together and begin alike end in different states."""
    jobs = [bench.job(str(n), STORY + f"Question {n}", n_tokens=N_TOKENS) for n in range(3)]
    run(bench, *jobs)
    expect_right(bench, model, *jobs)


def test_state_comes_back_from_memory_and_disk(bench: Bench, model: Path, tmp_path: Path) -> None:
    """A kept state is gone on from where it ended, and left alone where a prompt parts from it."""
    first = bench.job("first", STORY, n_tokens=N_TOKENS)
    run(bench, first)
    for n in range(4):
        run(bench, bench.job(f"other{n}", f"{n} birds fly over hills. " * 12, n_tokens=2))
    spoken = [*first.prompt, *bench.tokens("first")]
    on, off = job("on", [*spoken, 5, 6]), job("off", [*spoken[:-9], 5, 6])
    run(bench, on)
    run(bench, off)
    assert bench.finished("on").cached_tokens == len(spoken) - 1
    assert bench.finished("off").cached_tokens == 0
    expect_right(bench, model, on, off)
    bench.engine.close()
    fresh = Bench(model, PLAN, tier=tier(tmp_path))
    later, parted = job("later", [*on.prompt, *bench.tokens("on"), 7]), job("parted", [*on.prompt[:-1], 8])
    run(fresh, later)
    run(fresh, parted)
    assert fresh.finished("later").cached_tokens == len(later.prompt) - 2
    expect_right(fresh, model, later, parted)
    fresh.close()


def test_state_gives_llama_servers_tokens(bench: Bench, model: Path, tmp_path: Path) -> None:
    """What llama.cpp's own server answers to the same tokens."""
    jobs = [bench.job(str(n), text, n_tokens=N_TOKENS) for n, text in enumerate(("Why?", STORY))]
    run(bench, *jobs)
    with llama_server(model, "-c", "2048", "-np", "1", log=tmp_path / "log") as client:
        for each in jobs:
            wish = {"prompt": each.prompt, "n_predict": N_TOKENS, "temperature": 0, "return_tokens": True}
            assert client.post("/completion", json=wish).json()["tokens"] == bench.tokens(each.ref.job_id)
