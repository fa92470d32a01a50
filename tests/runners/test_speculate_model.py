"""Speculation with a real model: the same tokens in fewer steps."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from actors.messages.job import SamplingOptions
from actors.messages.model import LoadPlan
from runners.jobs import PreparedJob
from runners.llama.binding import start_backend
from runners.speculate import MOST_TOKENS, StepCosts
from tests.support.engine_bench import Bench
from tests.support.llama_server import llama_server
from tests.support.oracle import first_difference, greedy_answer

pytestmark = pytest.mark.model

TEXT = (
    "The river begins in the high hills, where the snow lies until June. It runs past three old mills and a stone "
    "bridge, and near the town it turns to the west. In summer the children swim there, and in winter the ice is thick "
    "enough to carry a horse."
)
REWRITE = f"Repeat this text exactly, but write 'lake' instead of 'river':\n\n{TEXT}"


class FreeDrafts(StepCosts):
    """Costs of a machine on which a drafted token costs almost nothing: every guess is tried."""

    def curve(self, base: int) -> list[float]:
        """Give a flat curve."""
        return [1.0 + 0.001 * n for n in range(MOST_TOKENS - base)]


@pytest.fixture
def eager(smollm2_gguf: Path) -> Iterator[Bench]:
    """An engine with four slots of SmolLM2 that drafts whatever it can guess."""
    start_backend()
    bench = Bench(smollm2_gguf, LoadPlan(num_ctx=1024, n_slots=4, n_threads=1), costs=FreeDrafts())
    yield bench
    bench.close()


def test_speculation_greedy_tokens_are_llama_cpps_in_fewer_steps(eager: Bench, smollm2_gguf: Path) -> None:
    """Copying a text drafts the copy: llama.cpp's own tokens come out, several in a step."""
    job = eager.job("a", REWRITE, n_tokens=64)
    assert eager.engine.admit(job)
    n_steps = eager.run()
    assert first_difference(greedy_answer(smollm2_gguf, job.prompt, n_tokens=64), eager.tokens("a")) is None
    assert n_steps < len(eager.tokens("a")) * 2 // 3


def test_speculation_greedy_tokens_are_llama_servers(eager: Bench, smollm2_gguf: Path, tmp_path: Path) -> None:
    """Its defaults guess nothing; both sides are llama.cpp's loop but for near-ties."""
    job = eager.job("a", REWRITE, n_tokens=64)
    assert eager.engine.admit(job)
    assert eager.run() < len(eager.tokens("a"))
    alone = greedy_answer(smollm2_gguf, job.prompt, n_tokens=64)
    wish = {"prompt": job.prompt, "n_predict": 64, "temperature": 0, "return_tokens": True}
    with llama_server(smollm2_gguf, "-c", "1024", log=tmp_path / "log") as server:
        theirs = server.post("/completion", json=wish).raise_for_status().json()["tokens"]
    assert first_difference(alone, eager.tokens("a")) is None
    assert first_difference(alone, [*theirs, *alone.tokens[len(theirs) :]]) is None


def test_speculation_beside_others_gives_llama_cpps_tokens(eager: Bench, smollm2_gguf: Path) -> None:
    """Streams that draft and streams that cannot share a batch, and each decodes what it decodes alone."""
    jobs = [eager.job("copy", REWRITE, n_tokens=40), eager.job("free", "Why is the sky blue?", n_tokens=40)]
    jobs.append(eager.job("count", "Count: 1, 2, 3, 1, 2, 3, 1, 2, 3,", n_tokens=40))
    for job in jobs:
        assert eager.engine.admit(job)
    eager.run()
    for job in jobs:
        answer = greedy_answer(smollm2_gguf, job.prompt, n_tokens=job.max_new_tokens)
        assert first_difference(answer, eager.tokens(job.ref.job_id)) is None


def test_speculation_sampled_tokens_are_those_without(eager: Bench) -> None:
    """A sampled stream draws the same random numbers, with drafts and without, penalties included."""
    n_equal = 0
    for seed in range(4):
        sampling = SamplingOptions(temperature=0.3, seed=seed, repeat_penalty=1.02)
        job = dataclasses.replace(eager.job(f"drafted{seed}", REWRITE, n_tokens=24), sampling=sampling)
        plain = _renamed(job, f"plain{seed}", most_drafted=0)
        for one in (plain, job):
            assert eager.engine.admit(one)
            eager.run()
        n_equal += eager.tokens(plain.ref.job_id) == eager.tokens(job.ref.job_id)
    assert n_equal >= 3  # rounding of another shape of batch may move one draw over a border


def test_speculation_history_stays_exact(eager: Bench, smollm2_gguf: Path) -> None:
    """A job that ends within a draft leaves only its own tokens behind: the next turn reuses them rightly."""
    job = eager.job("a", REWRITE, n_tokens=64, stop=("mills",))
    assert eager.engine.admit(job)
    eager.run()
    first = eager.tokens("a")
    tail = eager.model.tokenize(" and then", add_special=False)
    second = _renamed(job, "b", prompt=[*job.prompt, *first[:-1], *tail], stop=(), max_new_tokens=24)
    assert eager.engine.admit(second)
    eager.run()
    assert eager.finished("b").cached_tokens >= len(job.prompt) + len(first) - 2
    assert first_difference(greedy_answer(smollm2_gguf, second.prompt, n_tokens=24), eager.tokens("b")) is None


def _renamed(job: PreparedJob, name: str, **changes: object) -> PreparedJob:
    return dataclasses.replace(job, ref=msgspec.structs.replace(job.ref, job_id=name), **changes)  # type: ignore[arg-type]  # fields by name
