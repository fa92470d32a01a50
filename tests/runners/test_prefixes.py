"""Prefixes from wherever they are: tokens stay llama.cpp's own, and prefill is spared."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from actors.messages.model import LoadPlan
from actors.messages.runner_to_scheduler import Outcome
from runners.growing_context import FIRST_NUM_CTX
from runners.llama.binding import start_backend
from runners.llama.cells import n_streams_of
from runners.saved import SavedSequences
from runners.tier import Tier
from tests.support.engine_bench import Bench
from tests.support.oracle import first_difference, greedy_answer

pytestmark = pytest.mark.model

PLAN = LoadPlan(num_ctx=1024, n_slots=4, n_threads=2)
STORY = "Once there was a river that ran to the sea, and the sea was wide and blue, and the wind sang. " * 6
GIB = 1 << 30


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    """An empty tier with a disk below."""
    return Tier(memory_bytes=GIB, disk=SavedSequences(tmp_path, "smol", limit_bytes=GIB))


@pytest.fixture
def smol(smollm2_gguf: Path, tier: Tier) -> Iterator[Bench]:
    """SmolLM2 with four slots and a tier."""
    start_backend()
    bench = Bench(smollm2_gguf, PLAN, tier=tier)
    yield bench
    bench.close()


def expect_right(bench: Bench, path: Path, name: str, prompt: list[int]) -> None:
    """Compare an answer with llama.cpp's own."""
    answer = greedy_answer(path, prompt, n_tokens=16)
    assert first_difference(answer, bench.tokens(name)) is None


def test_prefix_of_a_running_job_is_copied(smol: Bench, smollm2_gguf: Path) -> None:
    """A second question about the same text takes its cells from the slot that is still answering the first."""
    first = smol.job("first", STORY + "What ran?", n_tokens=16)
    second = smol.job("second", STORY + "What sang?", n_tokens=16)
    assert smol.engine.admit(first)
    while not smol.tokens("first"):
        smol.engine.step()
        smol.outbox.flush()
    assert smol.engine.admit(second)
    smol.run()
    assert smol.finished("second").cached_tokens > 100
    for job in (first, second):
        expect_right(smol, smollm2_gguf, job.ref.job_id, job.prompt)


def test_prefix_shared_by_new_jobs_is_evaluated_once(smol: Bench, smollm2_gguf: Path) -> None:
    """Jobs that come together wait for the one that evaluates what they share."""
    jobs = [smol.job(f"job{i}", STORY + f"Question {i}: what is the sea?", n_tokens=16) for i in range(4)]
    for job in jobs:
        assert smol.engine.admit(job)
    smol.run()
    cached = [smol.finished(job.ref.job_id).cached_tokens for job in jobs]
    assert cached[0] == 0
    assert min(cached[1:]) > 100
    for job in jobs:
        expect_right(smol, smollm2_gguf, job.ref.job_id, job.prompt)


def test_prefix_follower_of_a_cancelled_leader_goes_on(smol: Bench, smollm2_gguf: Path) -> None:
    """Who waited for a job that was cancelled evaluates the rest itself."""
    leader = smol.job("leader", STORY + "What ran?", n_tokens=16)
    follower = smol.job("follower", STORY + "What sang?", n_tokens=16)
    assert smol.engine.admit(leader)
    assert smol.engine.admit(follower)
    assert smol.engine.cancel("leader")
    smol.run()
    expect_right(smol, smollm2_gguf, "follower", follower.prompt)


def test_prefix_overwritten_slots_come_back_from_memory(smol: Bench, smollm2_gguf: Path) -> None:
    """A conversation whose slot went to others is continued without prefill."""
    first = smol.job("first", STORY + "What ran?", n_tokens=16)
    assert smol.engine.admit(first)
    smol.run()
    for number in range(8):
        assert smol.engine.admit(smol.job(f"other{number}", f"{number} " + "Birds fly over hills. " * 25, n_tokens=2))
        smol.run()
    again = smol.job("again", STORY + "What ran?", n_tokens=16)
    assert smol.engine.admit(again)
    smol.run()
    assert smol.finished("again").cached_tokens == len(again.prompt) - 1
    expect_right(smol, smollm2_gguf, "again", again.prompt)


def test_prefix_is_kept_in_idle_time(smol: Bench, tier: Tier, smollm2_gguf: Path) -> None:
    """A conversation that has ended is in the tier before another needs its slot, and is not copied again then."""
    first = smol.job("first", STORY + "What ran?", n_tokens=16)
    assert smol.engine.admit(first)
    assert smol.engine.rest(0.0) is None
    smol.run()
    asked = smol.engine.rest(100.0)
    assert asked is not None
    assert smol.engine.rest(asked - 0.001) == asked
    assert tier.used_bytes == 0
    assert smol.engine.rest(asked) == asked
    kept_bytes = tier.used_bytes
    assert kept_bytes > 0
    assert smol.engine.rest(asked) is None
    for number in range(8):
        assert smol.engine.admit(smol.job(f"other{number}", f"{number} Birds fly.", n_tokens=2))
        smol.run()
    assert tier.used_bytes == kept_bytes
    again = smol.job("again", STORY + "What ran?", n_tokens=16)
    assert smol.engine.admit(again)
    smol.run()
    assert smol.finished("again").cached_tokens == len(again.prompt) - 1
    expect_right(smol, smollm2_gguf, "again", again.prompt)


def test_prefix_survives_the_runner_on_disk(smol: Bench, smollm2_gguf: Path, tmp_path: Path) -> None:
    """A new engine of the same model goes on where the last one ended."""
    first = smol.job("first", STORY + "What ran?", n_tokens=16)
    assert smol.engine.admit(first)
    smol.run()
    smol.engine.close()
    disk = SavedSequences(tmp_path, "smol", limit_bytes=GIB)
    fresh = Bench(smollm2_gguf, PLAN, tier=Tier(memory_bytes=GIB, disk=disk))
    again = fresh.job("again", STORY + "What sang?", n_tokens=16)
    assert fresh.engine.admit(again)
    fresh.run()
    assert fresh.finished("again").cached_tokens > 100
    expect_right(fresh, smollm2_gguf, "again", again.prompt)
    fresh.close()


def test_prefix_is_on_disk_as_a_new_cache_has_it(smol: Bench, smollm2_gguf: Path, tmp_path: Path) -> None:
    """A cache of several slots gives files that one of a single slot takes as they are."""
    for number in range(3):
        assert smol.engine.admit(smol.job(f"job{number}", f"{number} {STORY} What ran?", n_tokens=16))
    smol.run()
    smol.engine.close()
    disk = SavedSequences(tmp_path, "smol", limit_bytes=GIB)
    heads = disk.heads()
    assert len(heads) == 3
    for path, _ in heads:
        cells = disk.load(path)
        assert cells is not None
        assert n_streams_of(cells) == 1
    fresh = Bench(smollm2_gguf, PLAN, tier=Tier(memory_bytes=GIB, disk=disk))
    again = fresh.job("again", f"2 {STORY} What ran?", n_tokens=16)
    assert fresh.engine.admit(again)
    fresh.run()
    assert fresh.finished("again").cached_tokens == len(again.prompt) - 1
    expect_right(fresh, smollm2_gguf, "again", again.prompt)
    fresh.close()


def test_prefix_that_is_likely_to_be_continued_sizes_the_first_cache(
    smol: Bench, smollm2_gguf: Path, tmp_path: Path
) -> None:
    """A conversation that is read while the model loads finds a cache that holds it, and need not be moved."""
    first = smol.job("first", STORY * 6, n_tokens=16)
    assert len(first.prompt) > FIRST_NUM_CTX
    assert smol.engine.admit(first)
    smol.run()
    smol.engine.close()
    tier = Tier(memory_bytes=GIB, disk=SavedSequences(tmp_path, "smol", limit_bytes=GIB))
    tier.read_latest()
    fresh = Bench(smollm2_gguf, PLAN, tier=tier)
    num_ctx = fresh.engine.num_ctx
    assert num_ctx > len(first.prompt)
    again = fresh.job("again", STORY * 6, n_tokens=16)
    assert fresh.engine.admit(again)
    assert fresh.engine.num_ctx == num_ctx
    fresh.run()
    assert fresh.finished("again").cached_tokens == len(again.prompt) - 1
    expect_right(fresh, smollm2_gguf, "again", again.prompt)
    fresh.close()


def test_prefix_from_a_slow_disk_holds_up_nobody_else(smol: Bench, smollm2_gguf: Path, tmp_path: Path) -> None:
    """Another stream goes on while the disk reads; a cancelled wait frees its slot at once."""
    first = smol.job("first", STORY + "What ran?", n_tokens=16)
    assert smol.engine.admit(first)
    smol.run()
    smol.engine.close()
    fresh = Bench(
        smollm2_gguf, PLAN, tier=Tier(memory_bytes=GIB, disk=SavedSequences(tmp_path, "smol", limit_bytes=GIB))
    )
    (file,) = tmp_path.iterdir()
    saved = file.read_bytes()
    file.unlink()
    os.mkfifo(file)  # a disk that gives nothing until it is told to
    beside, again = fresh.job("beside", "Why?", n_tokens=12), fresh.job("again", STORY + "What sang?", n_tokens=16)
    gone = fresh.job("gone", STORY + "What was blue?", n_tokens=16)
    for job in (beside, again, gone):
        assert fresh.engine.admit(job)
    while "beside" not in fresh.outcomes:
        assert fresh.engine.step()
        assert fresh.outbox.flush()
    assert not fresh.engine.step()
    assert fresh.engine.cancel("gone")
    assert fresh.outcomes == {"beside": Outcome.FINISHED, "gone": Outcome.CANCELLED}
    file.write_bytes(saved)
    fresh.run()
    assert fresh.finished("again").cached_tokens > 100
    expect_right(fresh, smollm2_gguf, "again", again.prompt)
    fresh.close()


def test_prefix_kept_in_a_short_cache_fits_a_long_one(smol: Bench, smollm2_gguf: Path) -> None:
    """Cells are converted when the layout has changed since, and cut to what is needed."""
    first = smol.job("first", STORY + "What ran?", n_tokens=16)
    assert smol.engine.admit(first)
    smol.run()
    for number in range(4):
        assert smol.engine.admit(smol.job(f"other{number}", f"{number} " + "Birds fly over hills. " * 100, n_tokens=2))
        smol.run()
    assert smol.engine.num_ctx > 512
    again = smol.job("again", STORY + "What sang?", n_tokens=16)
    assert smol.engine.admit(again)
    smol.run()
    assert smol.finished("again").cached_tokens > 100
    expect_right(smol, smollm2_gguf, "again", again.prompt)


def test_prefix_kept_in_a_type_without_another_layout_is_evaluated_again(smollm2_gguf: Path, tmp_path: Path) -> None:
    """Who changes the type of the cache loses what was kept, and nothing else."""
    start_backend()

    def bench(plan: LoadPlan) -> Bench:
        disk = SavedSequences(tmp_path, "smol", limit_bytes=GIB)
        return Bench(smollm2_gguf, plan, tier=Tier(memory_bytes=GIB, disk=disk))

    quantized = bench(msgspec.structs.replace(PLAN, kv_cache_type="q8_0"))
    assert quantized.engine.admit(quantized.job("first", STORY + "What ran?", n_tokens=2))
    quantized.run()
    quantized.close()
    plain = bench(PLAN)
    again = plain.job("again", STORY + "What ran?", n_tokens=16)
    assert plain.engine.admit(again)
    plain.run()
    assert plain.finished("again").cached_tokens == 0
    expect_right(plain, smollm2_gguf, "again", again.prompt)
    plain.close()
