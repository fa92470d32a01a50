"""What to do when an alarm rings: look whether something is due, and if not, when to look again."""

from actors.errors import LoadFailed
from actors.scheduler import admission, deadlines, gateways, launchers, runners
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.granting import settle_idle
from actors.scheduler.holdings import audit_if_needed
from actors.scheduler.lifecycle import gone, kill
from actors.scheduler.runner import Runner
from actors.scheduler.states import RunnerLife
from actors.scheduler.world import World


def ring(world: World, kind: AlarmKind, subject: str) -> None:
    """Look at the subject of an alarm; one that is gone by now needs no look."""
    if kind is AlarmKind.SETTLE:
        launchers.settle(world)
    elif kind is AlarmKind.SILENCE:
        _silence(world, subject)
    elif kind is AlarmKind.QUEUE:
        admission.expire(world, subject)
    elif kind is AlarmKind.RETRY:
        world.unserved.pop(subject, None)
        world.wake(subject)
    elif kind is AlarmKind.TURN and subject in world.unserved:
        world.must_replan = True
        world.look_in(AlarmKind.TURN, subject, deadlines.TURN_S)
    elif subject in world.runners:
        _runner(world, kind, world.runners[subject])


def _runner(world: World, kind: AlarmKind, runner: Runner) -> None:
    if kind is AlarmKind.IDLE:
        settle_idle(world, runner)
    elif kind is AlarmKind.AUDIT:
        audit_if_needed(world, runner)
    elif kind is AlarmKind.EXIT:
        _exit(world, runner)
    elif kind is AlarmKind.START and runner.life is RunnerLife.STARTING:
        failure = LoadFailed(f"the runner of {runner.model.name} did not start within {deadlines.START_S:.0f} s")
        kill(world, runner, failure.message, failure=failure.as_failure())
    elif kind is AlarmKind.LOAD and runner.is_loading:
        limit_s = world.settings.load_timeout_s
        failure = LoadFailed(
            f"{runner.model.name} did not finish loading within {limit_s:.0f} s: raise OLLAMA_LOAD_TIMEOUT"
        )
        kill(world, runner, failure.message, failure=failure.as_failure())


def _exit(world: World, runner: Runner) -> None:
    if runner.life is RunnerLife.DYING:
        gone(world, runner, f"killed, and its launcher said nothing for {deadlines.EXIT_S:.0f} s")
    elif runner.life is RunnerLife.DRAINING and not runner.held:
        kill(world, runner, f"drained, and still there after {deadlines.DRAIN_EXIT_S:.0f} s")


def _silence(world: World, peer: str) -> None:
    known = world.runners.get(peer) or world.launchers.get(peer) or world.gateways.get(peer)
    if known is None:
        return
    silent_s = world.now_s - max(known.last_heard_s, world.heard_floor_s)
    if isinstance(known, Runner):
        runners.silent(world, known, silent_s)
    elif silent_s < deadlines.SILENCE_S:
        world.look_in(AlarmKind.SILENCE, peer, deadlines.SILENCE_S - silent_s)
    elif peer in world.gateways:
        gateways.drop(world, peer, f"silent for {silent_s:.1f} s")
    else:
        launchers.drop(world, peer, f"silent for {silent_s:.1f} s")
