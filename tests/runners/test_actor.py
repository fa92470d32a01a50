"""The runner process: jobs over real sockets, duplicates, cancels, lost gateways and schedulers, draining."""

from pathlib import Path

import pytest

from actors.messages.embedding import EmbedBody
from actors.messages.runner_to_gateway import Accepted, Delta, DoneReason, Failed, Finished, Vectors
from actors.messages.runner_to_scheduler import (
    JobEnded,
    Outcome,
    RunnerBeat,
    RunnerHello,
    RunnerLoadFailed,
    RunnerState,
)
from actors.messages.scheduler_to_gateway import WhoAreYou
from actors.messages.scheduler_to_runner import Cancel, Drain, KeepAlive, SetThreads
from tests.support.runner_bench import GATEWAY, loading_bench, runner_bench

pytestmark = [pytest.mark.model, pytest.mark.processes]

LONG = "Count to 900."


async def test_runner_answers_and_frees_the_slot(run_dir: Path, tiny_gguf: Path) -> None:
    """A job is accepted, streamed and finished, and the scheduler hears that its slot is free."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.subscribe()
        bench.start("a", "Hello")
        assert await bench.acceptance() == ("a", 1)
        text, end = await bench.answer("a")
        assert isinstance(end, Finished)
        assert text
        assert end.prompt_tokens > 0
        assert await bench.hear(JobEnded) == JobEnded(job_id="a", attempt=1, outcome=Outcome.FINISHED)


async def test_runner_job_waits_for_its_subscriber(run_dir: Path, tiny_gguf: Path) -> None:
    """A job that comes before its gateway's subscription loses nothing."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.start("early", "Hello")
        await bench.hear(RunnerBeat)
        bench.subscribe()
        assert await bench.acceptance() == ("early", 1)
        _, end = await bench.answer("early")
        assert isinstance(end, Finished)


async def test_runner_job_without_any_subscriber_is_given_up(run_dir: Path, tiny_gguf: Path) -> None:
    """Nobody listens: the slot is not held for ever."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.start("lonely", "Hello")
        assert (await bench.hear(JobEnded)).outcome is Outcome.FAILED


async def test_runner_drops_duplicates_and_replaces_by_higher_attempts(run_dir: Path, tiny_gguf: Path) -> None:
    """The same attempt runs once; a higher one cancels the one before."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.subscribe()
        bench.start("a", LONG, num_predict=900)
        assert await bench.acceptance() == ("a", 1)
        bench.start("a", LONG, num_predict=900)
        bench.start("a", "Hello", attempt=2)
        while not (isinstance(part := await bench.part(), Accepted) and part.attempt == 2):
            assert isinstance(part, Delta)
            assert part.attempt == 1
        _, end = await bench.answer("a")
        assert isinstance(end, Finished)
        assert end.attempt == 2
        ends = [await bench.hear(JobEnded), await bench.hear(JobEnded)]
        assert {(ended.attempt, ended.outcome) for ended in ends} == {(1, Outcome.CANCELLED), (2, Outcome.FINISHED)}
        bench.start("a", "Hello", attempt=2)
        bench.start("b", "Hello")
        assert await bench.acceptance() == ("b", 1)


async def test_runner_embeddings_that_come_at_once_all_end(run_dir: Path, tiny_gguf: Path) -> None:
    """Calls for whose sake a batch waits, and which end that wait for nobody, are all accepted and answered."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.subscribe()
        for number in range(5):
            names = [f"{number}-{index}" for index in range(2 + 12 * (number % 2))]
            for name in names:
                bench.start_body(name, EmbedBody(inputs=("some words",)))
            seen: dict[str, list[type]] = {name: [] for name in names}
            while not all(kinds[-1:] == [Finished] for kinds in seen.values()):
                part = await bench.part()
                seen[part.job_id].append(type(part))
            assert all(kinds == [Accepted, Vectors, Finished] for kinds in seen.values())
            for _ in names:
                assert (await bench.hear(JobEnded)).outcome is Outcome.FINISHED


@pytest.mark.parametrize("upstream", [True, False])
async def test_runner_cancel_ends_a_job(run_dir: Path, tiny_gguf: Path, *, upstream: bool) -> None:
    """A cancel frees the slot, whether the gateway or the scheduler sends it."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.subscribe()
        bench.start("a", LONG, num_predict=900)
        assert await bench.acceptance() == ("a", 1)
        if upstream:
            bench.cancel("a")
        else:
            bench.tell(Cancel(job_id="a"))
        assert (await bench.hear(JobEnded)).outcome is Outcome.CANCELLED


async def test_runner_lost_gateway_cancels_its_jobs(run_dir: Path, tiny_gguf: Path) -> None:
    """When a gateway is gone beyond the grace, its jobs stop."""
    async with runner_bench(run_dir, tiny_gguf, n_slots=1) as bench:
        bench.subscribe()
        bench.start("a", "Hello")
        await bench.answer("a")
        await bench.hear(JobEnded)
        bench.start("b", LONG, num_predict=100_000)
        assert await bench.acceptance() == ("b", 1)
        bench.unsubscribe()
        assert (await bench.hear(JobEnded)).outcome in (Outcome.CANCELLED, Outcome.FINISHED)


async def test_runner_refused_prompt_fails_alone(run_dir: Path, tiny_gguf: Path) -> None:
    """A job whose prompt cannot be prepared ends with an error, and the next one is served."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.subscribe()
        bench.tell(SetThreads(n_threads=1))
        bench.start("long", "word " * 4000)
        bench.start("zero", "Hello", num_predict=0)
        ends: dict[str, Finished | Failed] = {}
        while len(ends) < 2:
            part = await bench.part()
            if isinstance(part, Finished | Failed):
                ends[part.job_id] = part
        assert isinstance(ends["zero"], Finished)
        assert ends["zero"].reason is DoneReason.LENGTH
        assert isinstance(ends["long"], Finished)
        assert ends["long"].truncated_tokens > 0


async def test_runner_new_scheduler_learns_what_it_holds(run_dir: Path, tiny_gguf: Path) -> None:
    """Asked who it is, a runner tells its model, its jobs and the keep-alive it was told."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.subscribe()
        bench.tell(KeepAlive(keep_alive_s=42))
        bench.start("a", LONG, num_predict=900)
        assert await bench.acceptance() == ("a", 1)
        bench.tell(WhoAreYou(epoch="e2"))
        hello = await bench.hear(RunnerHello)
        assert hello.state is RunnerState.READY
        assert [(job.job_id, job.gateway_id) for job in hello.jobs] == [("a", GATEWAY)]
        assert hello.keep_alive_s == 42
        assert hello.size_bytes > 0


async def test_runner_drains_then_exits(run_dir: Path, tiny_gguf: Path) -> None:
    """Draining finishes what runs, refuses what is new, and ends the process."""
    async with runner_bench(run_dir, tiny_gguf) as bench:
        bench.subscribe()
        bench.start("a", LONG, num_predict=300)
        assert await bench.acceptance() == ("a", 1)
        bench.tell(Drain())
        bench.start("late", "Hello")
        _, end = await bench.answer("a")
        assert isinstance(end, Finished)
        assert await bench.exit_status() == 0


async def test_runner_bad_model_reports_and_exits(run_dir: Path) -> None:
    """A file that llama.cpp refuses gives a clear failure, not a hang."""
    broken = run_dir / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    async with loading_bench(run_dir, broken) as bench:
        failed = await bench.hear(RunnerLoadFailed)
        assert failed.failure.code == "load_failed"
        assert await bench.exit_status() == 1
