"""The gateway's side of the job protocol, against real sockets and a scripted scheduler and runner."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from actors.codec import encode_body
from actors.errors import (
    Draining,
    Failure,
    LlamactorError,
    PoisonedJob,
    QueueFull,
    RunnerDied,
    SchedulerUnavailable,
    StreamGap,
)
from actors.messages.gateway_to_scheduler import JobKind
from actors.messages.job import JobBody, RawPrompt
from actors.messages.model import ModelSpec
from actors.messages.scheduler_to_gateway import Loaded
from gateway.deadlines import Deadlines
from gateway.job import Job, JobRequest, JobState
from gateway.jobs import MAX_RETAINED_BYTES, Jobs
from gateway.streams import Piece
from tests.support.stub_backend import StubBackend, StubJob, paused

DEADLINE_S = 60.0
SOON = Deadlines(scheduler_s=0.3, accept_s=0.3, reannounce_s=0.3, tick_s=0.05)
DEAD = RunnerDied("signal 9").as_failure()
MODEL = ModelSpec(
    key="k",
    name="m:latest",
    digest="0" * 64,
    weights_path="/nonexistent",
    weights_bytes=1,
    n_layers=1,
    n_ctx_train=128,
    kv_bytes_per_token=1,
)
GENERATE = JobRequest(kind=JobKind.GENERATE, model=MODEL, body=encode_body(JobBody(prompt=RawPrompt(text="x"))))


@asynccontextmanager
async def running_jobs(endpoint: str, deadlines: Deadlines = SOON) -> AsyncIterator[Jobs]:
    """Run the protocol for the time of a block, which must not last longer than the deadline."""
    jobs = Jobs(endpoint, deadlines=deadlines)
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(jobs.run)
            yield jobs
            nursery.cancel_scope.cancel()


async def _text(job: Job) -> str:
    text = ""
    while True:
        piece = await job.stream.receive()
        text += piece.text
        if piece.end is not None:
            return text


async def test_submit_of_a_job_gives_its_answer(backend: StubBackend) -> None:
    """A job is offered, granted, accepted and answered."""
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            assert await _text(job) == "Hello world"
            assert job.granted_at is not None
        assert jobs.n_jobs == 0
    assert backend.submitted.items[0].attempt == 1
    assert backend.cancelled.items == []


async def test_submit_of_a_load_ends_when_the_model_is_loaded(backend: StubBackend) -> None:
    """A load has an end and no text."""
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(JobRequest(kind=JobKind.LOAD, model=MODEL)) as job:
            piece = await job.stream.receive()
    assert isinstance(piece, Piece)
    assert isinstance(piece.end, Loaded)


async def test_submit_when_refused_fails_with_the_scheduler_s_error(backend: StubBackend) -> None:
    """A refusal reaches the reader as the error it names."""
    backend.refusal = QueueFull(3).as_failure()
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job, pytest.raises(QueueFull):
            await job.stream.receive()


async def test_release_of_a_running_job_cancels_it_everywhere(backend: StubBackend) -> None:
    """Who leaves the block early tells runner and scheduler."""

    async def never_end(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))

    backend.plan = never_end
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            await job.stream.receive()
        assert await backend.runner.cancelled.wait_for(1) == job.job_id
        assert await backend.cancelled.wait_for(1) == job.job_id


async def test_gap_fails_the_job_and_cancels_it(backend: StubBackend) -> None:
    """Lost parts are an error, and the rest is not wanted."""

    async def skip(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"), job.delta(3, "c"))

    backend.plan = skip
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            assert (await job.stream.receive()).text == "a"
            with pytest.raises(StreamGap):
                await job.stream.receive()
            assert await backend.runner.cancelled.wait_for(1) == job.job_id


async def test_loss_before_acceptance_offers_the_job_again(backend: StubBackend) -> None:
    """A job whose runner dies before accepting it is offered once more, with a higher attempt."""

    async def die_first(job: StubJob) -> None:
        if job.submit.attempt == 1:
            backend.lose(job, DEAD)
        else:
            await job.say("second")

    backend.plan = die_first
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            assert await _text(job) == "second"
    assert [each.attempt for each in backend.submitted.items] == [1, 2]


async def test_second_loss_before_acceptance_is_final(backend: StubBackend) -> None:
    """A prompt that kills two runners gets no third."""

    async def die(job: StubJob) -> None:
        backend.lose(job, DEAD)
        await trio.lowlevel.checkpoint()

    backend.plan = die
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job, pytest.raises(PoisonedJob, match=job.job_id):
            await job.stream.receive()
    assert [each.n_losses for each in backend.submitted.items] == [0, 1]


async def test_loss_in_mid_answer_resumes_it_where_it_broke_off(backend: StubBackend) -> None:
    """The next runner gets the tokens so far and counts its parts anew; the reader sees one text."""
    resumed: list[tuple[int, ...]] = []

    async def die_first(job: StubJob) -> None:
        resumed.append(job.resumed)
        await job.accept()
        if job.submit.attempt == 1:
            await job.publish(job.delta(1, "a"), job.delta(2, "b"))
            backend.lose(job, DEAD)
        else:
            await job.publish(job.delta(1, "c"), job.finished(2))

    backend.plan = die_first
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            assert await _text(job) == "abc"
    assert resumed == [(), (1, 2)]


async def test_second_loss_in_mid_answer_is_final(backend: StubBackend) -> None:
    """What was sent before is still delivered, and the error names the request."""

    async def die_always(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))
        backend.lose(job, DEAD)

    backend.plan = die_always
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            assert (await job.stream.receive()).text == "a"
            assert (await job.stream.receive()).text == "a"
            with pytest.raises(PoisonedJob, match=job.job_id):
                await job.stream.receive()
    assert len(backend.submitted.items) == 2


async def test_job_that_meets_a_draining_runner_is_offered_elsewhere(backend: StubBackend) -> None:
    """It was granted in the moment in which its runner was told to drain; that is no loss."""

    async def drain_first(job: StubJob) -> None:
        if job.submit.attempt == 1:
            await job.accept()
            await job.publish(job.failed(1, Draining().as_failure()))
        else:
            await job.say("elsewhere")

    backend.plan = drain_first
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            assert await _text(job) == "elsewhere"
    assert [each.n_losses for each in backend.submitted.items] == [0, 0]


async def test_late_parts_of_a_lost_attempt_are_dropped(backend: StubBackend) -> None:
    """After a loss only the new attempt counts, whatever the dead runner's socket still holds."""
    stale: list[StubJob] = []

    async def answer(job: StubJob) -> None:
        if job.submit.attempt == 1:
            stale.append(job)
            backend.lose(job, DEAD)
        else:
            await stale[0].say("stale")
            await job.say("fresh")

    backend.plan = answer
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            assert await _text(job) == "fresh"


async def test_new_scheduler_gets_unaccepted_jobs_again(backend: StubBackend) -> None:
    """A job that no runner has accepted survives the death of the scheduler."""

    async def answer_second(job: StubJob) -> None:
        if job.submit.attempt > 1:
            await job.say("after the restart")

    backend.plan = answer_second
    async with running_jobs(backend.endpoint, Deadlines()) as jobs:
        with jobs.submit(GENERATE) as job:
            await backend.submitted.wait_for(1)
            backend.forget_all()
            assert await _text(job) == "after the restart"
    assert len(backend.hellos.items) == 2


async def test_new_scheduler_leaves_accepted_jobs_alone(backend: StubBackend) -> None:
    """A stream that runs does not notice that the scheduler is another one."""
    resume = trio.Event()
    backend.plan = paused(resume)
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            assert (await job.stream.receive()).text == "a"
            backend.forget_all()
            await backend.hellos.wait_for(2)
            resume.set()
            assert await _text(job) == "b"
    assert len(backend.submitted.items) == 1


async def test_runner_that_a_new_scheduler_does_not_know_is_gone(backend: StubBackend) -> None:
    """A runner that died while there was no scheduler to notice: its streams go on elsewhere all the same."""

    async def end_second(job: StubJob) -> None:
        await job.accept()
        if job.submit.attempt > 1:
            await job.publish(job.delta(1, "a"), job.finished(2))

    backend.plan = end_second
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            await backend.submitted.wait_for(1)
            with trio.move_on_after(0.05):
                await job.stream.receive()
            backend.runners.clear()
            backend.forget_all()
            backend.add_runner()
            assert await _text(job) == "a"


async def test_job_accepted_twice_runs_once(backend: StubBackend) -> None:
    """Of two runners that took a job around a scheduler's death, the second is told to drop it."""
    first, second = backend.runner, backend.add_runner()
    took = trio.Event()

    async def both(job: StubJob) -> None:
        await StubJob(job.gateway_id, job.submit, job.body, first).accept()
        await first_heard.wait()
        await StubJob(job.gateway_id, job.submit, job.body, second).accept()
        assert await second.cancelled.wait_for(1) == job.submit.job_id
        took.set()
        await StubJob(job.gateway_id, job.submit, job.body, first).publish(job.delta(1, "first"), job.finished(2))

    first_heard = trio.Event()
    backend.plan = both
    async with running_jobs(backend.endpoint, Deadlines()) as jobs:
        with jobs.submit(GENERATE) as job:
            while job.state is not JobState.ACCEPTED:
                await trio.lowlevel.checkpoint()
            first_heard.set()
            assert await _text(job) == "first"
    assert took.is_set()


async def test_job_of_nobody_is_cancelled_at_its_runner(backend: StubBackend) -> None:
    """A runner that accepts a job which was released meanwhile is told so."""

    async def slow(job: StubJob) -> None:
        await released.wait()
        await job.accept()

    released = trio.Event()
    backend.plan = slow
    async with running_jobs(backend.endpoint, Deadlines()) as jobs:
        with jobs.submit(GENERATE) as job:
            await backend.submitted.wait_for(1)
        await backend.cancelled.wait_for(1)
        released.set()
        assert job.job_id in {await backend.runner.cancelled.wait_for(count) for count in (1,)}


async def test_submit_without_a_scheduler_fails_after_the_deadline(backend: StubBackend) -> None:
    """Nobody waits for ever for a scheduler that is not there."""
    async with running_jobs(f"ipc://{backend.run_dir}/nobody.sock") as jobs:
        with jobs.submit(GENERATE) as job, pytest.raises(SchedulerUnavailable):
            await job.stream.receive()
    assert not jobs.is_connected


async def test_submit_not_accepted_in_time_counts_as_lost(backend: StubBackend) -> None:
    """A runner that takes a job and says nothing is tried once more, then given up."""

    async def stay_silent(_job: StubJob) -> None:
        await trio.lowlevel.checkpoint()

    backend.plan = stay_silent
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job, pytest.raises(PoisonedJob):
            await job.stream.receive()
    assert [each.attempt for each in backend.submitted.items] == [1, 2]


async def test_runner_gone_moves_its_streams(backend: StubBackend) -> None:
    """A runner that the scheduler reports as gone has no streams any more."""

    async def vanish_first(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))
        if job.submit.attempt == 1:
            backend.add_runner()
            backend.tell_gone(job.runner)
        else:
            await job.publish(job.finished(2))

    backend.plan = vanish_first
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job:
            assert await _text(job) == "aa"


async def test_failure_of_a_job_reaches_its_reader(backend: StubBackend) -> None:
    """An unknown code comes as the root of all errors, with the message."""

    async def fail(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.failed(1, Failure("new_code", "something new")))

    backend.plan = fail
    async with running_jobs(backend.endpoint) as jobs:
        with jobs.submit(GENERATE) as job, pytest.raises(LlamactorError, match="something new"):
            await job.stream.receive()


async def test_submit_of_too_many_bytes_is_refused(backend: StubBackend) -> None:
    """Bodies that wait for a runner are bounded together."""
    big = JobRequest(kind=JobKind.GENERATE, model=MODEL, body=b"x" * (MAX_RETAINED_BYTES + 1))
    async with running_jobs(backend.endpoint) as jobs:
        with pytest.raises(QueueFull), jobs.submit(big):
            pass


async def test_questions_are_asked_again_of_a_new_scheduler(backend: StubBackend) -> None:
    """A question that its scheduler took to the grave is answered by the next one."""
    answers = []
    async with running_jobs(backend.endpoint, Deadlines()) as jobs:
        await backend.hellos.wait_for(1)
        backend.is_deaf = True
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await jobs.questions.unload("k"))

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            backend.forget_all()
            backend.is_deaf = False
    assert answers == [1]
    assert backend.unloaded.items[-1] == "k"
