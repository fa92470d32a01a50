"""A model's own layers for multi-token prediction: never other tokens, and fewer steps where they are right."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.messages.model import JobRef, LoadPlan
from runners.jobs import PreparedJob, Shift
from runners.llama.binding import start_backend
from runners.speculate import StepCosts
from runners.tier import Tier
from tests.support.engine_bench import Bench, greedy_job
from tests.support.llama_server import llama_server
from tests.support.oracle import GreedyAnswer, greedy_answer
from tests.support.tiny_text import write_predicting

pytestmark = pytest.mark.model

N_TOKENS = 40
LONG = "Once there was a river that ran to the sea, and the sea was wide. " * 12
Opener = Callable[[str], Bench]


@pytest.fixture
def opened(tmp_path: Path, tiny_gguf: Path) -> Iterator[Opener]:
    """Open engines of models whose layer reads what is named, where a guess costs nearly nothing."""
    start_backend()
    benches = []

    def open_bench(reads: str) -> Bench:
        path = write_predicting(tmp_path / f"{reads}.gguf", tiny_gguf, reads=reads)
        costs = StepCosts()
        for n in range(1, 65):
            costs.observe(n, 10**10)
        plan = LoadPlan(num_ctx=1024, n_slots=3, n_batch=128)
        benches.append(Bench(path, plan, costs=costs, tier=Tier(memory_bytes=1 << 26)))
        return benches[-1]

    yield open_bench
    for bench in benches:
        bench.close()


def job(name: str, prompt: list[int]) -> PreparedJob:
    """Prepare a greedy answer."""
    return greedy_job(name, prompt, n_tokens=N_TOKENS)


def expected(path: Path, prompt: list[int]) -> GreedyAnswer:
    """Give llama.cpp's own answer."""
    return greedy_answer(path, prompt, n_tokens=N_TOKENS)


@pytest.mark.parametrize(("reads", "at_least", "at_most"), [("token", 5, 15), ("state", 20, 25), ("noise", 30, 50)])
def test_mtp_gives_the_same_tokens_in_fewer_steps(
    opened: Opener, tmp_path: Path, reads: str, at_least: int, at_most: int
) -> None:
    """A layer that is right for good, right for one token if its states are, and never right."""
    bench = opened(reads)
    one = bench.job("a", "Hello", n_tokens=N_TOKENS)
    assert bench.engine.admit(one)
    assert at_least <= bench.run() <= at_most
    assert bench.tokens("a") == expected(tmp_path / f"{reads}.gguf", one.prompt).tokens


@pytest.mark.parametrize("reads", ["token", "state", "noise"])
def test_mtp_in_a_batch_behind_reused_and_long_prompts(opened: Opener, tmp_path: Path, reads: str) -> None:
    """Streams beside each other, one of which comes late and makes the cache grow; then again, from slots and tier."""
    bench = opened(reads)
    jobs = [bench.job(str(n), text, n_tokens=N_TOKENS) for n, text in enumerate(("Why?", "Count to five.", LONG))]
    for each in jobs[:2]:
        assert bench.engine.admit(each)
    for _ in range(4):
        bench.engine.step()
    assert bench.engine.admit(jobs[2])
    bench.run()
    follow_up = bench.model.tokenize("And then?", add_special=False)
    on = job("on", [*jobs[2].prompt, *bench.tokens("2"), *follow_up])
    parted = bench.job("parted", LONG + "What ran?", n_tokens=N_TOKENS)
    others = [bench.job(f"other{n}", f"{n} birds fly. " * 20, n_tokens=2) for n in range(3)]
    back = dataclasses.replace(jobs[2], ref=JobRef("back", 1, "gw"))
    for each in (on, parted, *others, back):
        assert bench.engine.admit(each)
        bench.run()
    for each in (*jobs, on, parted, back):
        assert bench.tokens(each.ref.job_id) == expected(tmp_path / f"{reads}.gguf", each.prompt).tokens


def test_mtp_behind_a_context_shift_gives_the_same_tokens(opened: Opener) -> None:
    """Positions move, and what was foreseen for the old ones is not taken for the new."""
    bench = opened("token")
    one = bench.job("with", "Hello", n_tokens=N_TOKENS)
    shifting = dataclasses.replace(one, shift=Shift(num_ctx=32, n_keep=4))
    without = dataclasses.replace(shifting, ref=JobRef("without", 1, "gw"), most_drafted=0)
    for each in (shifting, without):
        assert bench.engine.admit(each)
        bench.run()
    assert bench.tokens("with") == bench.tokens("without")


def test_mtp_layer_that_is_announced_and_not_there_is_left_alone(opened: Opener, tmp_path: Path) -> None:
    """Such files exist; a context over the missing layer would end the process."""
    bench = opened("nothing")
    one = bench.job("a", "Hello", n_tokens=N_TOKENS)
    assert bench.engine.admit(one)
    assert bench.run() == N_TOKENS
    assert bench.tokens("a") == expected(tmp_path / "nothing.gguf", one.prompt).tokens


def test_mtp_turned_off_takes_a_step_for_each_token(opened: Opener) -> None:
    """`draft_num_predict` 0 holds for it as well."""
    bench = opened("token")
    one = dataclasses.replace(bench.job("a", "Hello", n_tokens=N_TOKENS), most_drafted=0)
    assert bench.engine.admit(one)
    assert bench.run() == N_TOKENS


def test_mtp_gives_llama_servers_tokens(opened: Opener, tmp_path: Path) -> None:
    """The same as llama.cpp's own server gives, with the layer and without."""
    bench = opened("state")
    one = bench.job("a", "Hello", n_tokens=N_TOKENS)
    assert bench.engine.admit(one)
    bench.run()
    wish = {"prompt": one.prompt, "n_predict": N_TOKENS, "temperature": 0, "return_tokens": True}
    for options in ((), ("--spec-type", "draft-mtp")):
        with llama_server(tmp_path / "state.gguf", "-c", "1024", *options, log=tmp_path / "log") as client:
            assert client.post("/completion", json=wish).json()["tokens"] == bench.tokens("a")
