"""Jobs that ask about a prompt, and what a job is told while its prompt is evaluated: a real runner and model."""

from pathlib import Path

import pytest

from actors.messages.job import ChatMessage, ChatPrompt, JobBody, RawPrompt, SamplingOptions, Task, TokenPrompt
from actors.messages.runner_to_gateway import Failed, Finished, Prefill
from runners.inspection import MAX_ANSWER_TOKENS
from tests.support.runner_bench import RunnerBench, runner_bench

pytestmark = [pytest.mark.model, pytest.mark.processes]

HELLO = ChatPrompt(messages=(ChatMessage(role="user", content="Hello"),))


async def _answer(bench: RunnerBench, body: JobBody) -> tuple[str, Finished | Failed]:
    job_id = f"{body.task}-{id(body)}"
    bench.start_body(job_id, body)
    return await bench.answer(job_id)


async def test_runner_tells_tokens_text_and_counts(run_dir: Path, tiny_gguf: Path) -> None:
    """Tokens come back as the text they were made of, and a rendered prompt counts as it is rendered."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.subscribe()
        raw = RawPrompt(text="Hello, <|im_start|>w\u00f6rld", add_special=False)
        _, tokens = await _answer(bench, JobBody(prompt=raw, task=Task.TOKENIZE))
        assert isinstance(tokens, Finished)
        assert len(tokens.context) == tokens.prompt_tokens > 1
        text, _ = await _answer(bench, JobBody(prompt=TokenPrompt(tokens=tokens.context), task=Task.DETOKENIZE))
        assert text == raw.text

        rendered, _ = await _answer(bench, JobBody(prompt=HELLO, task=Task.RENDER))
        assert "<|im_start|>user\nHello<|im_end|>" in rendered
        _, counted = await _answer(bench, JobBody(prompt=HELLO, task=Task.COUNT))
        assert isinstance(counted, Finished)
        assert (counted.prompt_tokens, counted.context) == (12, ())


async def test_runner_refuses_what_it_cannot_tell(run_dir: Path, tiny_gguf: Path) -> None:
    """Ids outside the vocabulary and answers that are too big end with an error that says so."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.subscribe()
        _, unknown = await _answer(bench, JobBody(prompt=TokenPrompt(tokens=(5, 1 << 30)), task=Task.DETOKENIZE))
        assert isinstance(unknown, Failed)
        assert unknown.failure.message.startswith("tokens holds 1073741824")
        huge = RawPrompt(text="\u4e00" * MAX_ANSWER_TOKENS)
        _, refused = await _answer(bench, JobBody(prompt=huge, task=Task.TOKENIZE))
        assert isinstance(refused, Failed)
        assert "in smaller pieces" in refused.failure.message


async def test_runner_tells_how_far_a_prompt_is(run_dir: Path, tiny_gguf: Path) -> None:
    """A job that asks for it hears of its prompt until the first token; a second one is told what the cache spared."""
    prompt = RawPrompt(text="one two three four " * 40)
    body = JobBody(prompt=prompt, sampling=SamplingOptions(temperature=0), num_predict=2, tells_prefill=True)
    async with runner_bench(run_dir, tiny_gguf, n_slots=1) as bench:
        bench.subscribe()
        for job_id, is_cached in (("first", False), ("second", True)):
            bench.start_body(job_id, body)
            told = []
            while not isinstance(part := await bench.part(), Finished):
                told += [part] if isinstance(part, Prefill) else []
            assert told
            assert all(part.done_tokens <= part.prompt_tokens for part in told)
            assert all((part.cached_tokens > 0) == is_cached for part in told)
            assert part.cached_tokens == told[0].cached_tokens
