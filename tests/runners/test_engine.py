"""The engine with real models: its tokens are llama.cpp's own, whatever shape the batches have."""

import dataclasses
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.messages.model import JobRef, LoadPlan
from actors.messages.runner_to_gateway import Delta, DoneReason, Failed, Finished
from actors.messages.runner_to_scheduler import Outcome
from runners.growing_context import FIRST_NUM_CTX
from runners.jobs import PreparedJob
from runners.llama.binding import start_backend
from runners.llama.layout import quickest_layout
from tests.support.engine_bench import GREEDY, Bench
from tests.support.oracle import first_difference, greedy_answer

pytestmark = pytest.mark.model

QUESTIONS = [
    "Why is the sky blue?",
    "Write a haiku about rivers.",
    "List three prime numbers.",
    "Who wrote Hamlet?",
    "Explain photosynthesis in one sentence.",
    "Translate 'good morning' to French.",
    "What is 12 times 12?",
    "Tell me about the moon.",
]


@pytest.fixture
def smol(smollm2_gguf: Path) -> Iterator[Bench]:
    """An engine with eight slots of SmolLM2."""
    start_backend()
    bench = Bench(smollm2_gguf, LoadPlan(num_ctx=1024, n_slots=8, n_threads=2))
    yield bench
    bench.close()


@pytest.fixture
def tiny(tiny_gguf: Path) -> Iterator[Bench]:
    """An engine with three slots of the tiny model."""
    start_backend()
    bench = Bench(tiny_gguf, LoadPlan(num_ctx=512, n_slots=3, n_threads=1))
    yield bench
    bench.close()


def test_engine_alone_gives_llama_cpps_tokens(smol: Bench, smollm2_gguf: Path) -> None:
    """One job at a time decodes exactly what a bare llama.cpp loop decodes."""
    for number, question in enumerate(QUESTIONS[:3]):
        job = smol.job(f"job{number}", question, n_tokens=48)
        assert smol.engine.admit(job)
        smol.run()
        answer = greedy_answer(smollm2_gguf, job.prompt, n_tokens=48)
        assert first_difference(answer, smol.tokens(job.ref.job_id)) is None


def test_engine_batch_of_eight_gives_llama_cpps_tokens(smol: Bench, smollm2_gguf: Path) -> None:
    """Eight jobs in one batch each decode what they decode alone."""
    jobs = [smol.job(f"job{number}", question, n_tokens=40) for number, question in enumerate(QUESTIONS)]
    for job in jobs:
        assert smol.engine.admit(job)
    smol.run()
    for job in jobs:
        answer = greedy_answer(smollm2_gguf, job.prompt, n_tokens=40)
        assert first_difference(answer, smol.tokens(job.ref.job_id)) is None
    assert set(smol.outcomes.values()) == {Outcome.FINISHED}


def test_engine_reused_prefix_gives_llama_cpps_tokens(smol: Bench, smollm2_gguf: Path) -> None:
    """A second turn reuses the first one's cache and still decodes the same tokens."""
    first = smol.job("first", QUESTIONS[0] + " Answer at length, with every detail that a student needs.", n_tokens=24)
    assert smol.engine.admit(first)
    smol.run()
    follow_up = smol.model.tokenize(
        "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n", add_special=False
    )
    prompt = [*first.prompt, *smol.tokens("first")[:-1], *follow_up]
    second = PreparedJob(
        ref=JobRef("second", 1, "gw"), prompt=prompt, sampling=GREEDY, max_new_tokens=24, stop=(), return_context=True
    )
    assert smol.engine.admit(second)
    smol.run()
    end = smol.finished("second")
    assert end.cached_tokens >= len(first.prompt)
    assert end.context == (*prompt, *smol.tokens("second"))
    assert first_difference(greedy_answer(smollm2_gguf, prompt, n_tokens=24), smol.tokens("second")) is None


def test_engine_late_long_prompt_disturbs_nobody(smol: Bench, smollm2_gguf: Path) -> None:
    """A prompt that arrives while others decode is prefilled in chunks, and all answers stay right."""
    early = [smol.job(f"early{number}", question, n_tokens=40) for number, question in enumerate(QUESTIONS[:3])]
    for job in early:
        assert smol.engine.admit(job)
    for _ in range(5):
        smol.engine.step()
    late = smol.job("late", "Summarise: " + "the river runs to the sea and the sea is wide. " * 40, n_tokens=16)
    assert smol.engine.admit(late)
    smol.run()
    for job in [*early, late]:
        answer = greedy_answer(smollm2_gguf, job.prompt, n_tokens=job.max_new_tokens)
        assert first_difference(answer, smol.tokens(job.ref.job_id)) is None


def test_engine_grown_cache_gives_llama_cpps_tokens(smol: Bench, smollm2_gguf: Path) -> None:
    """Growing in the middle of answers moves every sequence and changes no token."""
    jobs = [smol.job(f"job{number}", question, n_tokens=40) for number, question in enumerate(QUESTIONS[:3])]
    long = smol.job("long", "Repeat: " + "one two three four five six seven eight. " * 70, n_tokens=8)
    assert len(long.prompt) > FIRST_NUM_CTX
    for job in jobs:
        assert smol.engine.admit(job)
    for _ in range(5):
        smol.engine.step()
    first = smol.engine.num_ctx
    assert smol.engine.admit(long)
    smol.run()
    assert first == FIRST_NUM_CTX
    assert smol.engine.num_ctx >= len(long.prompt) + 8
    for job in [*jobs, long]:
        # What was decoded before the cache grew was rounded as in a short one, the rest as in a long one.
        answers = [
            greedy_answer(smollm2_gguf, job.prompt, n_tokens=job.max_new_tokens, layout=quickest_layout(num_ctx))
            for num_ctx in ((first, smol.engine.num_ctx) if job is not long else (smol.engine.num_ctx,))
        ]
        assert None in [first_difference(answer, smol.tokens(job.ref.job_id)) for answer in answers]


def test_engine_slots_that_come_with_their_jobs_give_llama_cpps_tokens(smol: Bench, smollm2_gguf: Path) -> None:
    """The cache begins with one slot, and takes more in mid-answer: every sequence moves and no token changes."""
    jobs = [smol.job(f"job{number}", QUESTIONS[number % len(QUESTIONS)], n_tokens=40 - number) for number in range(6)]
    for job in jobs:
        assert smol.engine.admit(job)
        for _ in range(3):
            smol.engine.step()
    smol.run()
    for job in jobs:
        answer = greedy_answer(smollm2_gguf, job.prompt, n_tokens=job.max_new_tokens)
        assert first_difference(answer, smol.tokens(job.ref.job_id)) is None


def test_engine_stop_string_cuts_text_and_ends(tiny: Bench) -> None:
    """The text ends before the stop string, which may straddle tokens."""
    assert tiny.engine.admit(tiny.job("free", "Count to 5.", n_tokens=64))
    tiny.run()
    text = tiny.text("free")
    middle = text[len(text) // 2 : len(text) // 2 + 3]
    assert tiny.engine.admit(tiny.job("cut", "Count to 5.", n_tokens=64, stop=(middle,)))
    tiny.run()
    assert tiny.text("cut") == text[: text.index(middle)]
    assert tiny.finished("cut").reason is DoneReason.STOP


def test_engine_limit_ends_with_length(tiny: Bench) -> None:
    """A job generates at most what it may, and none at all for 0."""
    assert tiny.engine.admit(tiny.job("three", "Count to 9.", n_tokens=3))
    assert tiny.engine.admit(tiny.job("none", "Count to 9.", n_tokens=0))
    tiny.run()
    assert len(tiny.tokens("three")) == tiny.finished("three").generated_tokens == 3
    assert tiny.finished("three").reason is DoneReason.LENGTH
    assert tiny.tokens("none") == []
    assert tiny.finished("none").reason is DoneReason.LENGTH


def test_engine_full_refuses_and_cancel_frees_a_slot(tiny: Bench) -> None:
    """With all slots taken a job is not admitted; a cancelled job says nothing more and frees its slot at once."""
    for name in ("a", "b", "c"):
        assert tiny.engine.admit(tiny.job(name, "Count to 9.", n_tokens=100))
    late = tiny.job("d", "Hello", n_tokens=5)
    assert not tiny.engine.admit(late)
    tiny.engine.step()
    assert tiny.engine.cancel("b")
    assert not tiny.engine.cancel("b")
    assert tiny.outcomes == {"b": Outcome.CANCELLED}
    assert tiny.engine.admit(late)
    tiny.run()
    assert tiny.outcomes["d"] is Outcome.FINISHED
    assert not [part for part in tiny.parts if part.job_id == "b" and isinstance(part, Finished | Failed)]


def test_engine_cancel_in_prefill_frees_the_slot_after_one_ubatch(tiny_gguf: Path) -> None:
    """A prompt of many batches goes no further, and its slot is the next one's."""
    start_backend()
    bench = Bench(tiny_gguf, LoadPlan(num_ctx=1024, n_slots=1, n_batch=32))
    long = bench.job("long", "Count to 9. " * 60, n_tokens=5)
    assert bench.engine.admit(long)
    bench.engine.step()
    assert bench.engine.use(n_waiting=0).kv_used_tokens == 32 < len(long.prompt)
    assert bench.engine.cancel("long")
    assert bench.engine.admit(bench.job("next", "Hello", n_tokens=5))
    bench.run()
    assert bench.outcomes == {"long": Outcome.CANCELLED, "next": Outcome.FINISHED}
    assert not [part for part in bench.parts if part.job_id == "long"]
    bench.close()


def test_engine_without_memory_to_grow_refuses_the_job_and_lives(tiny_gguf: Path) -> None:
    """Who needs a larger cache than the host has room for is told so; what runs goes on, and the next is served."""
    start_backend()
    bench = Bench(tiny_gguf, LoadPlan(num_ctx=1 << 17, n_slots=8))
    assert bench.engine.admit(bench.job("running", "Hello", n_tokens=60))
    bench.engine.step()
    n_pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (n_pages * resource.getpagesize() + (64 << 20), limits[1]))
    try:
        assert bench.engine.admit(bench.job("long", "Count to 9. " * 9000, n_tokens=5))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert bench.engine.num_ctx == FIRST_NUM_CTX
    assert bench.engine.admit(bench.job("next", "Hello", n_tokens=5))
    bench.run()
    assert bench.outcomes == {"long": Outcome.FAILED, "running": Outcome.FINISHED, "next": Outcome.FINISHED}
    bench.close()


def test_engine_parts_are_numbered_without_gaps(tiny: Bench) -> None:
    """Every part of a job carries the next number."""
    assert tiny.engine.admit(tiny.job("a", "Count to 9.", n_tokens=20))
    assert tiny.engine.admit(tiny.job("b", "Hello", n_tokens=20))
    tiny.run()
    for name in ("a", "b"):
        numbers = [part.seq for part in tiny.parts if part.job_id == name and isinstance(part, Delta | Finished)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_engine_resumes_an_answer_with_the_tokens_it_would_have_had(tiny: Bench) -> None:
    """The rest follows, nothing is said twice, and the counts are those of the whole answer."""
    tiny.engine.admit(tiny.job("whole", "Count to 30.", n_tokens=40))
    tiny.run()
    whole, given = tiny.tokens("whole"), 15
    rest = tiny.job("rest", "Count to 30.", n_tokens=40)
    resumed = dataclasses.replace(rest, prompt=rest.prompt + whole[:given], n_resumed=given)
    tiny.engine.admit(resumed)
    tiny.run()
    assert tiny.tokens("rest") == whole[given:]
    assert tiny.text("whole").endswith(tiny.text("rest"))
    assert tiny.finished("rest").generated_tokens == tiny.finished("whole").generated_tokens
    assert tiny.finished("rest").prompt_tokens == tiny.finished("whole").prompt_tokens


def test_engine_resuming_a_finished_answer_ends_at_once(tiny: Bench) -> None:
    """A runner that died before it could say so had generated all there was to."""
    job = tiny.job("a", "Hello", n_tokens=1)
    tiny.engine.admit(dataclasses.replace(job, prompt=[*job.prompt, 5], n_resumed=1))
    tiny.run()
    assert tiny.finished("a").reason is DoneReason.LENGTH
    assert tiny.finished("a").generated_tokens == 1


@pytest.mark.parametrize("n_batch", [6, 67, 100])
def test_engine_batch_of_any_size_gives_llama_cpps_tokens(tiny_gguf: Path, n_batch: int) -> None:
    """Also one that is no multiple of the number of slots."""
    start_backend()
    bench = Bench(tiny_gguf, LoadPlan(num_ctx=256, n_slots=6, n_batch=n_batch))
    jobs = [bench.job(str(number), question, n_tokens=8) for number, question in enumerate(QUESTIONS[:6])]
    for job in jobs:
        assert bench.engine.admit(job)
    bench.run()
    found = {job.ref.job_id: bench.tokens(job.ref.job_id) for job in jobs}
    bench.close()
    for job in jobs:
        assert first_difference(greedy_answer(tiny_gguf, job.prompt, n_tokens=8), found[job.ref.job_id]) is None
