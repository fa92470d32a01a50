"""From `Submit` to the queue, and out of it without a slot: duplicates, the queue's bound, cancels, deadlines."""

import sys

from msgspec.structs import replace

from actors.errors import QueueFull, QueueTimeout
from actors.messages.gateway_to_scheduler import CancelJob, JobKind, Submit
from actors.scheduler import granting
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.foresight import retry_after_s
from actors.scheduler.holdings import cancel, give, tell_granted
from actors.scheduler.job import ANY_OPTIONS, Job
from actors.scheduler.line import HIGHEST_PRIORITY, LOWEST_PRIORITY
from actors.scheduler.states import JobLife, JobStep, RunnerLife
from actors.scheduler.world import World

_MOST_PREFIXES = 16


def submit(world: World, gateway_id: str, message: Submit, payload: tuple[bytes, ...]) -> None:
    """Admit a job, answer a duplicate again, or let a higher attempt replace a lower one."""
    if message.attempt <= world.ended_jobs.attempt(message.job_id):
        return
    job = _job(world, gateway_id, message)
    known = world.jobs.get(message.job_id)
    if known is None:
        _admit(world, job, payload)
    elif message.attempt > known.attempt and known.is_adopted and known.life is JobLife.GRANTED:
        # It runs, and is not begun anew: its gateway takes the words of the older attempt as well.
        offered = replace(known, attempt=message.attempt, gateway_id=gateway_id, is_adopted=False)
        world.jobs[message.job_id] = offered
        tell_granted(world, world.runners[known.runner_id], offered)
    elif message.attempt > known.attempt:
        _replace(world, known, job, payload)
    elif known.life is JobLife.GRANTED:
        tell_granted(world, world.runners[known.runner_id], known)


def cancel_job(world: World, _gateway_id: str, message: CancelJob, _payload: tuple[bytes, ...]) -> None:
    """Cancel a job; an unknown one has ended already."""
    job = world.jobs.get(message.job_id)
    if job is not None:
        cancel(world, job)


def expire(world: World, model_key: str) -> None:
    """Refuse those of a line that waited their whole deadline, and look again when the next one will have."""
    line = world.queue.line(model_key)
    while (job := line.oldest()) is not None:
        waited_s = world.now_s - job.queued_s
        if waited_s < world.settings.queue_timeout_s:
            world.look_in(AlarmKind.QUEUE, model_key, world.settings.queue_timeout_s - waited_s)
            return
        world.refuse(job, QueueTimeout(waited_s).as_failure())
        world.unserved.pop(model_key, None)
        world.wake(model_key)


def _job(world: World, gateway_id: str, message: Submit) -> Job:
    return Job(
        job_id=message.job_id,
        attempt=message.attempt,
        kind=message.kind,
        gateway_id=world.gateways[gateway_id].gateway_id,  # one text for all jobs
        model=world.known(message.model),
        options=ANY_OPTIONS if message.load == ANY_OPTIONS else message.load,  # one for nearly all jobs
        keep_alive_s=message.keep_alive_s,
        queued_s=world.now_s,
        tenant=sys.intern(message.tenant),  # one text for all jobs
        priority=max(LOWEST_PRIORITY, min(HIGHEST_PRIORITY, message.priority)),
        weight=world.settings.tenant_weights.get(message.tenant, 1.0),
        prefixes=message.prefixes[:_MOST_PREFIXES],
        is_suspect=message.n_losses > 0 and message.kind is JobKind.GENERATE,
    )


def _admit(world: World, job: Job, payload: tuple[bytes, ...]) -> None:
    record = world.record(job.model)
    record.used(world.now_s)
    world.jobs[job.job_id] = job
    is_full = world.queue.is_full
    # Whoever can go at once never stands in the queue, so a full one does not concern it.
    if world.is_settled and granting.serve_at_once(world, job, payload):
        return
    world.put_in(job, payload)
    if is_full:
        full = QueueFull(world.settings.max_queue, retry_after_s=retry_after_s(world, job.model.key))
        world.refuse(job, full.as_failure())
        return
    world.look_in(AlarmKind.QUEUE, job.model.key, world.settings.queue_timeout_s)
    world.wake(job.model.key)


def _replace(world: World, old: Job, new: Job, payload: tuple[bytes, ...]) -> None:
    """Let a higher attempt take the place of a lower one."""
    runner = world.runners.get(old.runner_id)
    if old.life is JobLife.GRANTED and runner is not None:
        if runner.life is RunnerLife.READY and runner.is_reachable:
            taken_over = replace(new, life=old.life, runner_id=old.runner_id, granted_s=world.now_s)
            world.jobs[new.job_id] = taken_over
            give(world, runner, taken_over, payload)
            return
        cancel(world, old)
    if old.life is JobLife.QUEUED:
        cancel(world, old)
    else:
        # Its slot stays taken until the runner says so; the job itself starts anew elsewhere.
        world.end_job(old, JobStep.END)
    _admit(world, new, payload)
