"""LoRA adapters in the engine: each job's tokens are those of a bare llama.cpp loop with the same adapters."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.errors import LoadFailed
from actors.messages.job import SamplingOptions
from actors.messages.model import AdapterUse, JobRef, LoadPlan
from actors.messages.runner_to_gateway import Failed
from actors.messages.runner_to_scheduler import Outcome
from runners.jobs import PreparedJob
from runners.llama.adapters import MOST_LOADED, Adapters
from runners.llama.binding import start_backend
from runners.llama.model import Model
from runners.tier import Tier
from tests.support.engine_bench import Bench
from tests.support.oracle import first_difference, greedy_answer
from tests.support.tiny_lora import write_lora

pytestmark = pytest.mark.model

PLAN = LoadPlan(num_ctx=512, n_slots=6, n_threads=1)
N_TOKENS = 24


@pytest.fixture
def tiny(tiny_gguf: Path) -> Iterator[Bench]:
    """An engine with six slots of the tiny model."""
    start_backend()
    bench = Bench(tiny_gguf, PLAN)
    yield bench
    bench.close()


@pytest.fixture
def loras(tmp_path: Path, tiny_gguf: Path) -> list[Path]:
    """Two adapters for the tiny model."""
    return [write_lora(tmp_path / f"{seed}.gguf", tiny_gguf, seed=seed, strength=2.0) for seed in (1, 2)]


def job(bench: Bench, name: str, text: str, *uses: tuple[Path, float]) -> PreparedJob:
    """Prepare a chat turn with adapters."""
    return PreparedJob(
        ref=JobRef(name, 1, "gw"),
        prompt=bench.job(name, text, n_tokens=N_TOKENS).prompt,
        sampling=SamplingOptions(temperature=0),
        max_new_tokens=N_TOKENS,
        stop=(),
        return_context=False,
        adapters=tuple(AdapterUse(str(path), scale) for path, scale in uses),
    )


def assert_as_alone(bench: Bench, tiny_gguf: Path, name: str, prompt: list[int], *uses: tuple[Path, float]) -> None:
    """Compare a finished job with the bare loop."""
    answer = greedy_answer(tiny_gguf, prompt, n_tokens=N_TOKENS, adapters=uses)
    assert first_difference(answer, bench.tokens(name)) is None


def test_lora_jobs_with_several_sets_at_once_give_llama_cpps_tokens(
    tiny: Bench, tiny_gguf: Path, loras: list[Path]
) -> None:
    """Jobs without an adapter, with one, with another scale and with two share the engine, not the batches."""
    first, second = loras
    sets: dict[str, list[tuple[Path, float]]] = {
        "none": [],
        "one": [(first, 1.0)],
        "one too": [(first, 1.0)],
        "half": [(first, 0.5)],
        "both": [(first, 1.0), (second, -1.0)],
        "zero": [(second, 0.0)],
    }
    jobs = {name: job(tiny, name, "Why is the sky blue?", *uses) for name, uses in sets.items()}
    for each in jobs.values():
        assert tiny.engine.admit(each)
    tiny.run()
    for name, uses in sets.items():
        assert_as_alone(tiny, tiny_gguf, name, jobs[name].prompt, *uses)
    assert tiny.tokens("one") == tiny.tokens("one too")
    assert tiny.tokens("zero") == tiny.tokens("none")
    assert len({tuple(tiny.tokens(name)) for name in ("none", "one", "both")}) == 3


def test_lora_history_is_not_shared_between_sets(tiny: Bench, tiny_gguf: Path, loras: list[Path]) -> None:
    """A prompt that a slot knows with another adapter is evaluated anew; with the same one it is reused."""
    text = "Tell me a joke. " * 8
    for number in range(PLAN.n_slots):  # every slot knows the prompt
        assert tiny.engine.admit(job(tiny, f"plain{number}", text))
    tiny.run()
    for name in ("first", "again"):
        prepared = job(tiny, name, text, (loras[0], 1.0))
        assert tiny.engine.admit(prepared)
        tiny.run()
        assert_as_alone(tiny, tiny_gguf, name, prepared.prompt, (loras[0], 1.0))
    assert tiny.finished("first").cached_tokens == 0
    assert tiny.finished("again").cached_tokens > 0


def test_lora_history_of_another_set_is_saved_for_its_return(tiny_gguf: Path, loras: list[Path]) -> None:
    """One slot, taken in turn with and without an adapter: each set finds its own history again, and only that."""
    start_backend()
    bench = Bench(tiny_gguf, LoadPlan(num_ctx=512, n_slots=1), tier=Tier(memory_bytes=64 << 20))
    text = "Tell me a joke. " * 30
    sets: list[list[tuple[Path, float]]] = [[], [(loras[0], 1.0)]]
    prompts = {}
    for turn in range(2):
        for number, uses in enumerate(sets):
            prepared = job(bench, f"{turn}{number}", text, *uses)
            prompts[prepared.ref.job_id] = prepared.prompt
            assert bench.engine.admit(prepared)
            bench.run()
    cached = {name: bench.finished(name).cached_tokens for name in prompts}
    for turn in range(2):
        for number, uses in enumerate(sets):
            assert_as_alone(bench, tiny_gguf, f"{turn}{number}", prompts[f"{turn}{number}"], *uses)
    bench.close()
    assert (cached["00"], cached["01"]) == (0, 0)
    assert min(cached["10"], cached["11"]) > 100


def test_lora_with_another_set_nobody_is_waited_for(tiny: Bench, loras: list[Path]) -> None:
    """A job does not wait for the prompt of one whose cells it could not use."""
    text = "Count to nine. " * 20
    assert tiny.engine.admit(job(tiny, "plain", text))
    assert tiny.engine.admit(job(tiny, "with", text, (loras[0], 1.0)))
    tiny.run()
    assert tiny.finished("with").cached_tokens == 0
    assert tiny.outcomes == {"plain": Outcome.FINISHED, "with": Outcome.FINISHED}


def test_lora_bad_file_fails_its_job_alone(tiny: Bench, tmp_path: Path) -> None:
    """A file that llama.cpp refuses is that request's error; the engine goes on."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 64)
    assert tiny.engine.admit(job(tiny, "bad", "Hello", (broken, 1.0)))
    assert tiny.engine.admit(job(tiny, "good", "Hello"))
    tiny.run()
    assert tiny.outcomes == {"bad": Outcome.FAILED, "good": Outcome.FINISHED}
    (failed,) = [part for part in tiny.parts if isinstance(part, Failed)]
    assert failed.failure.code == "invalid_request"


def test_lora_more_files_than_are_kept_evicts_the_oldest(tiny: Bench, tiny_gguf: Path, loras: list[Path]) -> None:
    """Adapters come and go; each job still gets its own."""
    links = []
    for number in range(MOST_LOADED + 2):
        links.append(loras[number % 2].with_name(f"link{number}.gguf"))
        links[-1].symlink_to(loras[number % 2])
        name = f"job{number}"
        assert tiny.engine.admit(job(tiny, name, "Hello", (links[-1], 1.0)))
        tiny.run()
    assert set(tiny.outcomes.values()) == {Outcome.FINISHED}
    prompt = job(tiny, "x", "Hello").prompt
    assert_as_alone(tiny, tiny_gguf, f"job{MOST_LOADED + 1}", prompt, (loras[(MOST_LOADED + 1) % 2], 1.0))


def test_lora_of_the_model_itself_is_used_where_a_job_names_none(tiny_gguf: Path, loras: list[Path]) -> None:
    """What a model was created with is loaded with it, and a bad file fails the load."""
    start_backend()
    model = Model(str(tiny_gguf), PLAN)
    try:
        adapters = Adapters(model, [str(loras[0])])
        assert adapters.set_of(None, busy=(), detach=lambda: None) == ((str(loras[0]), 1.0),)
        assert adapters.set_of((), busy=(), detach=lambda: None) == ()
        with pytest.raises(LoadFailed, match="LoRA adapter"):
            Adapters(model, [str(tiny_gguf)])
    finally:
        model.close()
