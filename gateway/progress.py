"""Progress of a request before its first token: its place in the queue, its model's load, its prompt's evaluation.

Only requests that ask for it pay for it. While nothing has come, the scheduler is asked again and again; what the
runner tells of the prompt comes by itself. Nothing is told twice, and a prompt that was evaluated between two looks
is told of before its first token, so that a client always hears of it.
"""

from collections.abc import AsyncIterator

import msgspec

from actors.errors import SchedulerUnavailable
from actors.messages.runner_to_gateway import Prefill
from actors.messages.scheduler_to_gateway import JobProgress
from gateway.answer import Answer
from gateway.job import Job, JobState
from gateway.jobs import Jobs

LOOK_EVERY_S = 0.2


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a request waits for now."""

    stage: str
    """`queued`, `loading` or `prefill`."""
    position: int | None = None
    """In the queue of its model; 1 is next."""
    fraction: float | None = None
    """Of the load or of the prompt, 0 to 1."""
    done_tokens: int | None = None
    prompt_tokens: int | None = None


async def progress_of(jobs: Jobs, answer: Answer) -> AsyncIterator[Progress]:
    """Tell what an answer waits for, until its first part is there.

    Raises:
        LlamactorError: it was refused, or failed before any text.
    """
    told: Progress | None = None
    has_begun = False
    while not has_begun:
        has_begun = await answer.begins_within(LOOK_EVERY_S)
        progress = await _progress(jobs, answer.job)
        if progress is not None and progress != told:
            told = progress
            yield progress


async def _progress(jobs: Jobs, job: Job) -> Progress | None:
    if job.prefill is not None:
        return _of_prompt(job.prefill)
    if job.state is not JobState.OFFERED:
        return None
    try:
        return _of_wait(await jobs.questions.progress(job.job_id))
    except SchedulerUnavailable:  # the job's own deadline tells its client
        return None


def _of_prompt(told: Prefill) -> Progress:
    return Progress(
        stage="prefill",
        fraction=told.done_tokens / max(1, told.prompt_tokens),
        done_tokens=told.done_tokens,
        prompt_tokens=told.prompt_tokens,
    )


def _of_wait(answer: JobProgress) -> Progress | None:
    position = None if answer.n_ahead is None else answer.n_ahead + 1
    if answer.load_fraction is not None:
        return Progress(stage="loading", position=position, fraction=answer.load_fraction)
    return None if position is None else Progress(stage="queued", position=position)
