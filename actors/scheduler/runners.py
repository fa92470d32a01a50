"""What runners say, and what becomes of a silent one."""

from actors.errors import LoadFailed
from actors.messages.runner_to_scheduler import (
    JobEnded,
    Outcome,
    RunnerBeat,
    RunnerHello,
    RunnerLoadFailed,
    RunnerReady,
    RunnerState,
)
from actors.messages.scheduler_to_gateway import RunnerUp, WhoAreYou
from actors.messages.scheduler_to_runner import Drain
from actors.scheduler import deadlines
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.holdings import audit, ended, reconcile
from actors.scheduler.launchers import settle_if_complete
from actors.scheduler.lifecycle import await_exit_if_empty, gone, kill, load_failed, mark_ready, measure
from actors.scheduler.memory import Share
from actors.scheduler.runner import Runner
from actors.scheduler.states import RunnerLife, RunnerStep
from actors.scheduler.world import World

_SHORT_BEATS = 3  # so many in a row that do not add up, and the runner is asked; one alone is a message under way


def hello(world: World, sender: str, message: RunnerHello, _payload: tuple[bytes, ...]) -> None:
    """Hear a runner for the first time, or adopt one that an earlier scheduler started, or hear what one holds."""
    if sender in world.exited_runners:
        return
    runner = world.runners.get(sender) or _adopt(world, sender, message)
    runner.endpoint = message.endpoint
    world.send(sender, world.welcome)
    if runner.life is RunnerLife.DYING:
        return
    if runner.life is RunnerLife.STARTING:
        world.step_runner(runner, RunnerStep.HELLO)
        world.tell_gateways(RunnerUp(runner_id=sender, endpoint=message.endpoint))
    measure(world, runner, size_bytes=message.size_bytes, size_vram_bytes=message.size_vram_bytes)
    _follow(world, runner, message.state)
    reconcile(world, runner, message.jobs)
    world.look_in(AlarmKind.SILENCE, sender, deadlines.SILENCE_S)
    settle_if_complete(world)


def ready(world: World, sender: str, message: RunnerReady, _payload: tuple[bytes, ...]) -> None:
    """Take note that a model is loaded."""
    runner = world.runners[sender]
    if runner.life is RunnerLife.LOADING:
        measure(world, runner, size_bytes=message.size_bytes, size_vram_bytes=message.size_vram_bytes)
        mark_ready(world, runner)
        world.note(f"loaded {runner.model.name} in {message.load_s:.2f} s: runner {sender}")


def failed(world: World, sender: str, message: RunnerLoadFailed, _payload: tuple[bytes, ...]) -> None:
    """Take note that a load has failed."""
    runner = world.runners[sender]
    if runner.life is RunnerLife.LOADING:
        load_failed(world, runner, message.failure)


def beat(world: World, sender: str, message: RunnerBeat, _payload: tuple[bytes, ...]) -> None:
    """Take a runner's figures, and act on those that mean trouble."""
    runner = world.runners[sender]
    runner.use = message.use
    world.send(sender, world.welcome)
    if runner.life is RunnerLife.STARTING:  # its hello was lost
        world.send(sender, WhoAreYou(epoch=world.epoch))
    if runner.life in (RunnerLife.STARTING, RunnerLife.DYING):
        return
    if message.use.step_age_s > world.settings.step_timeout_s:
        text = f"no step for {message.use.step_age_s:.0f} s (LLAMACTOR_STEP_TIMEOUT)"
        kill(world, runner, text, failure=LoadFailed(text).as_failure())
        return
    _follow(world, runner, message.state)
    is_short = message.use.n_active + message.use.n_waiting < len(runner.held)
    runner.n_short_beats = runner.n_short_beats + 1 if is_short else 0
    if runner.n_short_beats >= _SHORT_BEATS:
        audit(world, runner)


def job_ended(world: World, sender: str, message: JobEnded, _payload: tuple[bytes, ...]) -> None:
    """Free a slot."""
    is_well = message.outcome is Outcome.FINISHED
    ended(world, world.runners[sender], message.job_id, message.attempt, is_well=is_well)


def silent(world: World, runner: Runner, silent_s: float) -> None:
    """Have a silent runner killed, or look again later: one that has not spoken yet has a deadline of its own."""
    if runner.life in (RunnerLife.STARTING, RunnerLife.DYING):
        return
    limit_s = deadlines.LOADING_SILENCE_S if runner.is_loading else deadlines.SILENCE_S
    if silent_s < limit_s:
        world.look_in(AlarmKind.SILENCE, runner.runner_id, limit_s - silent_s)
        return
    text = f"silent for {silent_s:.1f} s"
    if runner.launcher_id not in world.launchers:
        # Runners die with their launcher, and nobody is left to ask.
        gone(world, runner, f"{text}, like its launcher", is_host_lost=True)
        return
    kill(world, runner, text, failure=LoadFailed(f"the runner of {runner.model.name} was {text}").as_failure())


def _adopt(world: World, sender: str, message: RunnerHello) -> Runner:
    launchers = (each.launcher_id for each in world.launchers.values() if sender in each.runner_ids)
    keep_alive_s = message.keep_alive_s
    runner = Runner(
        runner_id=sender,
        model=message.model,
        plan=message.plan,
        share=Share(message.plan.size_bytes),
        launcher_id=next(launchers, None),
        keep_alive_s=world.settings.keep_alive_s if keep_alive_s is None else keep_alive_s,
        since_s=world.now_s,
        last_heard_s=world.now_s,
        is_reported=message.state is not RunnerState.LOADING,
        cause="an earlier scheduler",
    )
    if message.is_pinned:
        world.pinned[message.model.key] = None
    world.add_runner(runner)
    world.look_in(AlarmKind.LOAD, sender, world.settings.load_timeout_s)
    world.note(f"runner {sender} of {message.model.name} is {message.state}, with {len(message.jobs)} jobs")
    return runner


def _follow(world: World, runner: Runner, reported: RunnerState) -> None:
    """Believe a runner about its own state, except that it does not undo a drain."""
    if runner.life is RunnerLife.LOADING and reported is RunnerState.READY:
        mark_ready(world, runner)
    if reported is RunnerState.DRAINING and runner.life in (RunnerLife.LOADING, RunnerLife.READY):
        world.step_runner(runner, RunnerStep.DRAIN)
        runner.drained_s = world.now_s
        await_exit_if_empty(world, runner)
        world.wake(runner.model.key)
        world.open_room(runner)
    is_deaf = runner.life is RunnerLife.DRAINING and reported is RunnerState.READY
    if is_deaf and world.now_s - runner.drained_s >= deadlines.DRAIN_REPEAT_S:
        runner.drained_s = world.now_s
        world.send(runner.runner_id, Drain())
