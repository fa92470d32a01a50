"""A draft model: the same tokens in fewer steps where it guesses well, and the same tokens where it does not."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.errors import LoadFailed
from actors.messages.model import LoadPlan
from runners.draft_model import DraftModel
from runners.llama.binding import start_backend
from runners.llama.model import Model
from runners.speculate import MOST_TOKENS, StepCosts
from tests.support.engine_bench import Bench
from tests.support.oracle import first_difference, greedy_answer
from tests.support.tiny_bert import write_tiny_bert
from tests.support.tiny_media import write_qwen_text

pytestmark = pytest.mark.model

PLAN = LoadPlan(num_ctx=1024, n_slots=3, n_threads=1)
QUESTIONS = ["Why is the sky blue?", "Count to 9.", "Name three rivers and say where they are. " * 12]


class OneSecondSteps(StepCosts):
    """Costs of a machine on which a step takes a second, and a drafted token nothing more: every guess is tried."""

    def curve(self, base: int) -> list[float]:
        """Give a flat curve."""
        return [1e9] * (MOST_TOKENS - base)


@pytest.fixture(params=["itself", "another"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, tiny_gguf: Path) -> Iterator[Bench]:
    """The tiny model, once with itself as a draft, which is always right, and once with random weights."""
    start_backend()
    draft = tiny_gguf if request.param == "itself" else write_qwen_text(tmp_path / "draft.gguf", tiny_gguf)
    bench = Bench(tiny_gguf, PLAN, costs=OneSecondSteps(), draft=draft)
    yield bench
    bench.close()


def test_draft_model_tokens_are_llama_cpps(bench: Bench, tiny_gguf: Path) -> None:
    """Three jobs side by side, one with a prompt that is followed in several steps, decode what they decode alone."""
    jobs = [bench.job(f"job{number}", question, n_tokens=40) for number, question in enumerate(QUESTIONS)]
    for job in jobs:
        assert bench.engine.admit(job)
    bench.run()
    for job in jobs:
        answer = greedy_answer(tiny_gguf, job.prompt, n_tokens=40)
        assert first_difference(answer, bench.tokens(job.ref.job_id)) is None


def test_draft_model_that_is_right_saves_steps(tiny_gguf: Path) -> None:
    """A perfect draft model needs a step for several tokens; a job that does not speculate one for each."""
    start_backend()
    bench = Bench(tiny_gguf, PLAN, costs=OneSecondSteps(), draft=tiny_gguf)
    job = dataclasses.replace(bench.job("a", QUESTIONS[0], n_tokens=40), most_drafted=4)
    assert bench.engine.admit(job)
    n_steps = bench.run()
    plain = dataclasses.replace(bench.job("b", QUESTIONS[0], n_tokens=40), most_drafted=0)
    assert bench.engine.admit(plain)
    n_plain = bench.run()
    assert bench.tokens("a") == bench.tokens("b")
    assert n_steps * 2 < n_plain
    bench.close()


def test_draft_model_follows_and_takes_back(tiny_gguf: Path) -> None:
    """Guesses depend on the history alone, whatever was guessed before; an early end of it is followed in parts."""
    start_backend()
    model = Model(str(tiny_gguf), PLAN)
    draft = DraftModel(str(tiny_gguf), model, PLAN)
    history = model.tokenize(
        "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n", add_special=True
    )
    first = draft.guess({0: history}, n_tokens=4)[0]
    assert draft.guess({0: [*history, first[0], 5]}, n_tokens=2)[0]
    assert draft.guess({0: history, 2: history}, n_tokens=4) == {0: first, 2: first}
    long = history * 20
    assert draft.guess({1: long}, n_tokens=2) == {}
    for _ in range(len(long) // 128):
        found = draft.guess({1: long}, n_tokens=2)
    assert len(found[1]) == 2
    draft.close()
    model.close()


def test_draft_model_with_another_vocabulary_is_refused(tmp_path: Path, tiny_gguf: Path) -> None:
    """Its guesses would be nonsense."""
    start_backend()
    model = Model(str(tiny_gguf), PLAN)
    with pytest.raises(LoadFailed, match="another vocabulary"):
        DraftModel(str(write_tiny_bert(tmp_path / "bert.gguf")), model, PLAN)
    model.close()
