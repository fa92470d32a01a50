"""Slots and what takes them: giving a job to a runner, taking a slot back, and agreeing with a runner on what it holds.

Theory of operation. `Runner.held` mirrors what a runner holds. It changes on `Start` and `JobEnded`; messages can be
lost, so heartbeats that do not add up, and cancels that free no slot, lead to an audit: `WhoAreYou` makes the runner
list its jobs. Its answer follows everything that it had to say before, so what was given before the question and is
not listed is gone.
"""

from actors.errors import RunnerDied
from actors.messages.gateway_to_scheduler import JobKind
from actors.messages.model import JobRef
from actors.messages.scheduler_to_gateway import Granted, WhoAreYou
from actors.messages.scheduler_to_runner import Cancel, KeepAlive, Start
from actors.scheduler import deadlines
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.job import Job
from actors.scheduler.lifecycle import await_exit_if_empty, lose, touch
from actors.scheduler.runner import Runner
from actors.scheduler.states import JobLife, JobStep, RunnerLife
from actors.scheduler.world import World


def grant(world: World, runner: Runner, job: Job, payload: tuple[bytes, ...]) -> None:
    """Give a job to a runner, its slot on its tenant's account; it has left the queue, or never stood in it."""
    usual_s = 0.0
    if job.needs_slot:
        usual_s = world.record(job.model).usual_s
        world.queue.line_to_charge(job.model.key).charge(job, usual_s=usual_s)
    granted = world.step_job(job, JobStep.GRANT, runner_id=runner.runner_id, granted_s=world.now_s, charged_s=usual_s)
    give(world, runner, granted, payload)


def give(world: World, runner: Runner, job: Job, payload: tuple[bytes, ...]) -> None:
    """Send a job to its runner and tell its gateway; a lower attempt that the runner holds is replaced."""
    if not runner.held:
        touch(world, runner)
    runner.hold(job)
    world.note_load(runner)
    world.warmth.note(job.model.key, job.prefixes, runner.runner_id)
    use(world, runner, job)
    start = Start(epoch=world.epoch, job_id=job.job_id, attempt=job.attempt, gateway_id=job.gateway_id)
    world.send(runner.runner_id, start, payload)
    tell_granted(world, runner, job)


def tell_granted(world: World, runner: Runner, job: Job) -> None:
    """Tell a job's gateway where its answer comes from."""
    granted = Granted(
        epoch=world.epoch,
        job_id=job.job_id,
        attempt=job.attempt,
        runner_id=runner.runner_id,
        endpoint=runner.endpoint,
    )
    world.send(job.gateway_id, granted)


def use(world: World, runner: Runner, job: Job) -> None:
    """Let a request's wishes stick to the runner that serves it."""
    if job.options.num_thread:
        runner.named_threads = job.options.num_thread
        touch(world, runner)
    if job.keep_alive_s is not None:
        set_keep_alive(world, runner, job.keep_alive_s)


def set_keep_alive(world: World, runner: Runner, keep_alive_s: float) -> None:
    """Change a runner's idle allowance."""
    if keep_alive_s != runner.keep_alive_s:
        runner.keep_alive_s = keep_alive_s
        world.send(runner.runner_id, KeepAlive(keep_alive_s=keep_alive_s, is_pinned=runner.is_pinned))
    world.vacated[runner.runner_id] = runner


def take_back(world: World, runner: Runner, job: Job, payload: tuple[bytes, ...]) -> None:
    """Put a job that could not be delivered to its runner back into the queue, to its place."""
    runner.let_go(job.job_id)
    released(world, runner)
    returned = world.step_job(job, JobStep.RETURN, runner_id="", was_returned=True)
    world.put_in(returned, payload)
    world.look_in(AlarmKind.QUEUE, job.model.key, world.settings.queue_timeout_s)
    world.wake(job.model.key)


def ended(world: World, runner: Runner, job_id: str, attempt: int, *, is_well: bool) -> None:
    """Free a job's slot, and learn from one that ended well; what is late or doubled is ignored."""
    held = runner.held.get(job_id)
    if held is None or attempt < held.attempt:
        return
    runner.let_go(job_id)
    released(world, runner)
    took_s = world.now_s - held.granted_s
    if is_well and held.needs_slot:
        world.record(runner.model).served(took_s)
    job = world.jobs.get(job_id)
    if job is not None and job.runner_id == runner.runner_id:
        world.queue.line_to_charge(job.model.key).correct(job, took_s=took_s)
        world.end_job(job, JobStep.END)


def released(world: World, runner: Runner) -> None:
    """Act on a job's end at a runner."""
    world.note_load(runner)
    if world.queue.line(runner.model.key).n_waiting:
        world.wake(runner.model.key)
    if runner.held:
        return
    runner.idle_since_s = world.now_s
    if world.unserved:
        world.open_room(runner)
    world.vacated[runner.runner_id] = runner
    touch(world, runner)
    await_exit_if_empty(world, runner)


def cancel(world: World, job: Job) -> None:
    """Stop a job that nobody waits for any more, whatever state it is in."""
    if job.life is JobLife.QUEUED:
        world.take_out(job)
        world.end_job(job, JobStep.CANCEL)
        world.unserved.pop(job.model.key, None)  # it may have stood for others that can do with what is loaded
        world.wake(job.model.key)
    elif job.life is JobLife.GRANTED:
        world.step_job(job, JobStep.CANCEL)
        cancel_at(world, world.runners[job.runner_id], job.job_id)


def cancel_at(world: World, runner: Runner, job_id: str) -> None:
    """Tell a runner that nobody waits for a job that it holds."""
    world.send(runner.runner_id, Cancel(job_id=job_id))
    world.look_in(AlarmKind.AUDIT, runner.runner_id, deadlines.AUDIT_S)


def audit(world: World, runner: Runner) -> None:
    """Ask a runner what it holds."""
    runner.audited_s = world.now_s
    runner.n_short_beats = 0
    world.send(runner.runner_id, WhoAreYou(epoch=world.epoch))


def audit_if_needed(world: World, runner: Runner) -> None:
    """Ask a runner what it holds if it holds what nobody waits for."""
    if runner.life not in (RunnerLife.READY, RunnerLife.DRAINING):
        return
    if any(not _is_awaited(world, runner, job_id) for job_id in runner.held):
        audit(world, runner)
        world.look_in(AlarmKind.AUDIT, runner.runner_id, deadlines.AUDIT_S)


def reconcile(world: World, runner: Runner, listed: tuple[JobRef, ...]) -> None:
    """Agree with what a runner says that it holds."""
    ids = {ref.job_id for ref in listed}
    if runner.audited_s is not None:
        failure = RunnerDied("it did not get the request, or lost it").as_failure()
        for job_id, held in list(runner.held.items()):
            if job_id not in ids and held.granted_s <= runner.audited_s:
                lose(world, runner, job_id, failure)
                released(world, runner)
        runner.audited_s = None
    for ref in listed:
        if ref.job_id not in runner.held:
            _adopt(world, runner, ref)


def _adopt(world: World, runner: Runner, ref: JobRef) -> None:
    """Take over a job that a runner holds and that this scheduler did not give to it."""
    job = world.jobs.get(ref.job_id)
    adopted = Job(
        job_id=ref.job_id,
        attempt=ref.attempt,
        kind=JobKind.GENERATE if job is None else job.kind,
        gateway_id=ref.gateway_id,
        model=runner.model,
        life=JobLife.GRANTED,
        runner_id=runner.runner_id,
        is_adopted=True,
        granted_s=world.now_s,
    )
    runner.hold(adopted)
    world.note_load(runner)
    touch(world, runner)
    if job is None and world.ended_jobs.attempt(ref.job_id) < ref.attempt:
        world.jobs[ref.job_id] = adopted
    elif job is not None and job.life is JobLife.QUEUED:
        # Its gateway offered the job again to this scheduler before the runner that has it spoke. It is not started
        # anew, since its first words may be on their way; a gateway takes the older attempt as well.
        world.take_out(job)
        tell_granted(world, runner, world.step_job(job, JobStep.GRANT, runner_id=runner.runner_id))
    else:
        cancel_at(world, runner, ref.job_id)


def _is_awaited(world: World, runner: Runner, job_id: str) -> bool:
    job = world.jobs.get(job_id)
    return job is not None and job.runner_id == runner.runner_id and job.life is JobLife.GRANTED
