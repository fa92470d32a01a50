"""What moves a runner through its life, and what its end means for its jobs.

Rules. A job is reported lost only after its runner's exit is known (or `deadlines.EXIT_S` after the kill), so that no
request ever runs twice at once. Jobs that wait for a load are refused when it fails, but for a first lack of memory.
How soon the next load may begin is said by the model's `record`.
"""

import logging

import msgspec

from actors.errors import Failure, InsufficientMemory, InvalidRequest, LoadFailed, LoadOutOfMemory, RunnerDied
from actors.messages.scheduler_to_gateway import Lost, RunnerGone
from actors.messages.scheduler_to_launcher import KillRunner, StartRunner
from actors.messages.scheduler_to_runner import Drain
from actors.scheduler import deadlines
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.cache_settings import sized
from actors.scheduler.job import Job
from actors.scheduler.memory import Share
from actors.scheduler.peers import Launcher
from actors.scheduler.placement import OOM_CONTEXT_TIERS, REDUCED_CONTEXT_TOKENS, Placement
from actors.scheduler.runner import Runner
from actors.scheduler.states import JobLife, JobStep, RunnerLife, RunnerStep
from actors.scheduler.world import World

_NAMED_JOBS = 8


def start_runner(
    world: World, launcher: Launcher, job: Job, placement: Placement, *, n_threads: int, cause: str
) -> Runner:
    """Ask a launcher for a runner that serves this job's model."""
    plan = msgspec.structs.replace(placement.plan, n_threads=n_threads)
    world.n_started += 1
    runner = Runner(
        runner_id=f"{world.epoch}-{world.n_started}",
        model=job.model,
        plan=plan,
        share=placement.share,
        launcher_id=launcher.launcher_id,
        keep_alive_s=world.settings.keep_alive_s,
        since_s=world.now_s,
        last_heard_s=world.now_s,
        named_threads=job.options.num_thread or None,
        n_threads=plan.n_threads,
        is_num_ctx_automatic=job.options.num_ctx is None,
        cause=cause,
        where=placement.reason,
    )
    world.add_runner(runner)
    world.look_in(AlarmKind.START, runner.runner_id, deadlines.START_S)
    world.look_in(AlarmKind.LOAD, runner.runner_id, world.settings.load_timeout_s)
    world.send(launcher.launcher_id, StartRunner(runner_id=runner.runner_id, model=job.model, plan=plan))
    world.note(
        f"loading {job.model.name}: runner {runner.runner_id}, {plan.n_slots} slots of {plan.num_ctx} tokens, "
        f"{plan.size_bytes >> 20} MiB on {placement.reason}; {cause}"
    )
    return runner


def mark_ready(world: World, runner: Runner) -> None:
    """Take note that a runner has loaded its model."""
    runner.ready_s = runner.idle_since_s = world.now_s
    world.step_runner(runner, RunnerStep.LOADED)
    world.record(runner.model).loaded(world.now_s - runner.since_s)
    world.vacated[runner.runner_id] = runner
    world.wake(runner.model.key)
    world.open_room(runner)
    touch(world, runner)


def measure(world: World, runner: Runner, *, size_bytes: int, size_vram_bytes: int) -> None:
    """Replace the estimate of a runner's memory by what it measured, and learn from it; 0 means that it has not.

    A runner that claims more than its host has is not believed.
    """
    launcher = world.launcher_of(runner)
    most = _most_bytes(launcher) if launcher is not None else size_bytes
    if size_bytes <= 0 or size_bytes > most or size_vram_bytes > size_bytes:
        return
    runner.size_vram_bytes = size_vram_bytes
    world.record(runner.model).measured(sized(runner.model, world.settings), runner.plan, size_bytes)
    world.open_room(runner)
    estimated = sum(runner.share.device_bytes.values())
    devices = {
        index: size_vram_bytes * each // estimated for index, each in runner.share.device_bytes.items() if estimated
    }
    if not devices and size_vram_bytes:
        devices = {runner.plan.main_gpu or 0: size_vram_bytes}
    runner.share = Share(max(0, size_bytes - size_vram_bytes), devices)


def drain(world: World, runner: Runner, reason: str) -> None:
    """Let a ready runner finish what is in flight, take nothing new and end."""
    world.step_runner(runner, RunnerStep.DRAIN)
    runner.drained_s = world.now_s
    world.send(runner.runner_id, Drain())
    world.note(
        f"unloading {runner.model.name} ({reason}): runner {runner.runner_id}, {len(runner.held)} jobs in flight"
    )
    await_exit_if_empty(world, runner)
    world.wake(runner.model.key)
    world.open_room(runner)


def await_exit_if_empty(world: World, runner: Runner) -> None:
    """Give a draining runner without jobs its deadline to end."""
    if runner.life is RunnerLife.DRAINING and not runner.held:
        world.look_in(AlarmKind.EXIT, runner.runner_id, deadlines.DRAIN_EXIT_S)


def discard(world: World, runner: Runner, reason: str) -> None:
    """Get rid of a runner that nobody needs: kill what loads, drain what is ready, leave alone what leaves."""
    if runner.is_loading:
        kill(world, runner, reason)
    elif runner.life is RunnerLife.READY:
        drain(world, runner, reason)


def kill(world: World, runner: Runner, reason: str, *, failure: Failure | None = None) -> None:
    """Have a runner killed; a `failure` is told to those who wait for its load."""
    if runner.life is RunnerLife.DYING:
        return
    if failure is not None:
        _died(world, runner, failure)
        if runner.is_loading:
            refuse_waiting(world, runner, failure)
    world.step_runner(runner, RunnerStep.KILL)
    world.look_in(AlarmKind.EXIT, runner.runner_id, deadlines.EXIT_S)
    if runner.launcher_id in world.launchers:
        world.send(runner.launcher_id, KillRunner(runner_id=runner.runner_id, reason=reason))
    world.note(f"killing runner {runner.runner_id} of {runner.model.name}: {reason}", logging.WARNING)
    touch(world, runner)


def load_failed(world: World, runner: Runner, failure: Failure) -> None:
    """Refuse those who wait for a load that its runner reported as failed; the runner ends by itself.

    A first lack of memory refuses nobody: the load is tried once more, alone on its host and with a smaller context if
    nobody asked for that one.
    """
    if failure.code == LoadOutOfMemory.code:
        _ran_out(world, runner, failure)
    else:
        if failure.code != InvalidRequest.code:  # a request's options were at fault, not the model
            _died(world, runner, failure)
        refuse_waiting(world, runner, failure)
    world.step_runner(runner, RunnerStep.FAIL)
    world.look_in(AlarmKind.EXIT, runner.runner_id, deadlines.EXIT_S)
    world.note(f"loading {runner.model.name} failed: {failure.message}", logging.ERROR)


def gone(
    world: World, runner: Runner, reason: str, *, failure: Failure | None = None, is_host_lost: bool = False
) -> None:
    """Drop a runner that has ended; its granted jobs are lost, those who waited for its load are refused.

    When the whole host was lost, which was hardly the model's doing, they may wait for a second load.
    """
    if runner.is_loading:
        text = f"the runner of {runner.model.name} ended while loading ({reason})"
        told = failure or LoadFailed(text).as_failure()
        if not is_host_lost:
            _died(world, runner, told)
        refuse_waiting(world, runner, told, may_wait_on=is_host_lost)
    elif not is_host_lost and (runner.life is RunnerLife.READY or (runner.life is RunnerLife.DRAINING and runner.held)):
        _died(world, runner, failure or RunnerDied(reason).as_failure())
    lost = failure or RunnerDied(reason).as_failure()
    was_expected = runner.is_leaving and not runner.held
    for job_id in list(runner.held):
        lose(world, runner, job_id, lost)
    forget(world, runner)
    world.remember_exit(runner.runner_id)
    if runner.endpoint:
        world.tell_gateways(RunnerGone(runner_id=runner.runner_id))
    level = logging.INFO if was_expected else logging.ERROR
    world.note(f"runner {runner.runner_id} of {runner.model.name} has ended: {reason}", level)


def forget(world: World, runner: Runner) -> None:
    """Drop a runner without a word to anybody."""
    world.step_runner(runner, RunnerStep.EXIT)
    world.remove_runner(runner)


def lose(world: World, runner: Runner, job_id: str, failure: Failure) -> None:
    """Free a slot whose job will not end by itself any more, and tell the job's gateway if it still waits."""
    runner.let_go(job_id)
    job = world.jobs.get(job_id)
    if job is None or job.runner_id != runner.runner_id:
        return
    is_awaited = job.life is JobLife.GRANTED
    world.end_job(job, JobStep.LOSE)
    if is_awaited:
        lost = Lost(epoch=world.epoch, job_id=job_id, attempt=job.attempt, failure=failure)
        world.send(job.gateway_id, lost)


def refuse_waiting(world: World, runner: Runner, failure: Failure, *, may_wait_on: bool = False) -> None:
    """Refuse all who wait for this runner's load, unless another runner of the model can still serve them.

    With `may_wait_on` those are spared whose load was not interrupted before: a second loss is taken for the
    model's doing.
    """
    siblings = (each for each in world.serving(runner.model.key) if each is not runner)
    if any(each.is_loading or each.life is RunnerLife.READY for each in siblings):
        return
    record = world.record(runner.model)
    for job in world.queue.waiting_for(runner.model.key):
        if not may_wait_on or job.queued_s <= record.interrupted_s:
            world.refuse(job, failure)
    if may_wait_on:
        record.interrupted_s = world.now_s


def _died(world: World, runner: Runner, failure: Failure) -> None:
    """Count a death that was not asked for (`record`), and name the jobs in flight: one of them may be the cause."""
    lived_s = 0.0 if runner.ready_s is None else world.now_s - runner.ready_s
    world.record(runner.model).died(world.now_s, lived_s=lived_s, failure=failure)
    if runner.held:
        names = ", ".join(list(runner.held)[:_NAMED_JOBS])
        world.note(f"jobs in flight when runner {runner.runner_id} failed: {names}", logging.WARNING)


def _ran_out(world: World, runner: Runner, failure: Failure) -> None:
    """Take note that there was not enough memory for a load; the second time in a row those who wait are refused."""
    record = world.record(runner.model)
    record.n_ooms += 1
    if record.n_ooms == 1:
        if runner.is_num_ctx_automatic and runner.plan.num_ctx > REDUCED_CONTEXT_TOKENS:
            record.max_num_ctx = next(each for each in OOM_CONTEXT_TIERS if each < runner.plan.num_ctx)
        text = f"{runner.model.name} ran out of memory in its load, which is tried once more, alone: {failure.message}"
        world.note(text, logging.WARNING)
        return
    record.n_ooms = 0
    launcher = world.launcher_of(runner)
    told = InsufficientMemory(
        runner.model.name,
        needed_bytes=runner.plan.size_bytes,
        available_bytes=_free_bytes(launcher) if launcher is not None else 0,
    ).as_failure()
    _died(world, runner, told)
    refuse_waiting(world, runner, told)


def _most_bytes(launcher: Launcher) -> int:
    return launcher.host.memory_total_bytes + sum(device.total_bytes for device in launcher.host.devices)


def _free_bytes(launcher: Launcher) -> int:
    return launcher.host.memory_available_bytes + sum(device.free_bytes for device in launcher.host.devices)


def touch(world: World, runner: Runner) -> None:
    """Note that a runner began or stopped using cores."""
    if runner.launcher_id is not None:
        world.touched[runner.launcher_id] = None
