"""Reuse where attention slides: prefixes are spared where all cells in the window are there, and tokens stay right."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.messages.model import JobRef, LoadPlan
from runners.jobs import PreparedJob
from runners.llama.binding import start_backend
from runners.tier import Tier
from tests.support.engine_bench import GREEDY, Bench
from tests.support.oracle import first_difference, greedy_answer

pytestmark = pytest.mark.model

PLAN = LoadPlan(num_ctx=2048, n_slots=2, n_threads=2)
STORY = "Once there was a river that ran to the sea, and the sea was wide and blue, and the wind sang. "
OPENING = "Once there was a river"
"""Leaves no doubt about what follows; behind a whole story two tokens are nearly as likely."""
N_TOKENS = 8


@pytest.fixture
def gemma(gemma3_gguf: Path) -> Iterator[Bench]:
    """Gemma with two slots and a tier in memory."""
    start_backend()
    bench = Bench(gemma3_gguf, PLAN, tier=Tier(memory_bytes=1 << 30))
    yield bench
    bench.close()


def ask(bench: Bench, path: Path, name: str, prompt: list[int]) -> int:
    """Have a prompt answered rightly; return how many tokens were spared."""
    job = PreparedJob(
        ref=JobRef(name, 1, "gw"),
        prompt=prompt,
        sampling=GREEDY,
        max_new_tokens=N_TOKENS,
        stop=(),
        return_context=False,
    )
    assert bench.engine.admit(job)
    bench.run()
    answer = greedy_answer(path, prompt, n_tokens=N_TOKENS)
    assert first_difference(answer, bench.tokens(name)) is None
    return bench.finished(name).cached_tokens


def test_window_continued_chat_is_reused(gemma: Bench, gemma3_gguf: Path) -> None:
    """A chat that goes on needs only its window, however long it is."""
    prompt = gemma.model.tokenize(STORY * 46 + OPENING, add_special=True)
    assert len(prompt) > 2 * gemma.model.n_swa > 0
    ask(gemma, gemma3_gguf, "first", prompt)
    more = [*prompt, *gemma.tokens("first")[:-1], *gemma.model.tokenize(" And then?", add_special=False)]
    assert ask(gemma, gemma3_gguf, "second", more) > len(prompt)


def test_window_prefix_behind_it_is_evaluated_again(gemma: Bench, gemma3_gguf: Path) -> None:
    """Where the window has left the shared part, nothing of it is used."""
    prompt = gemma.model.tokenize(STORY * 46 + OPENING, add_special=True)
    ask(gemma, gemma3_gguf, "first", prompt)
    counting = "One two three four five six seven. " * 3 + "One two three four"
    other = [*prompt[:100], *gemma.model.tokenize(counting, add_special=False)]
    assert ask(gemma, gemma3_gguf, "second", other) == 0


def test_window_short_prefix_is_copied_and_kept(gemma: Bench, gemma3_gguf: Path) -> None:
    """Within the window everything is shared as elsewhere, across slots, layouts and the tier."""
    prompt = gemma.model.tokenize(STORY * 8, add_special=True)
    assert len(prompt) < gemma.model.n_swa
    ask(gemma, gemma3_gguf, "first", [*prompt, *gemma.model.tokenize("Who sang?", add_special=False)])
    for number in range(2):
        ask(gemma, gemma3_gguf, f"other{number}", gemma.model.tokenize(f"{number} birds. " * 300, add_special=True))
    assert gemma.engine.num_ctx > 512
    again = [*prompt, *gemma.model.tokenize("What was blue?", add_special=False)]
    assert ask(gemma, gemma3_gguf, "again", again) >= len(prompt) - 1
