"""What launchers say, and what becomes of a silent one."""

import logging
import signal

from actors.errors import LoadOutOfMemory
from actors.messages.launcher_to_scheduler import LauncherBeat, LauncherDraining, LauncherHello, RunnerExited
from actors.messages.model import HostFacts
from actors.messages.scheduler_to_launcher import KillRunner
from actors.scheduler import deadlines
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.lifecycle import discard, gone, load_failed
from actors.scheduler.memory import Share
from actors.scheduler.peers import Launcher
from actors.scheduler.states import RunnerLife
from actors.scheduler.world import World

_NOTICED_BYTES = 64 << 20
"""So much more is a reason to ask again; what comes in smaller pieces is noticed when turns come."""
_JITTER_BYTES = 8 << 20
"""So much less or more is no news."""


def hello(world: World, sender: str, message: LauncherHello, _payload: tuple[bytes, ...]) -> None:
    """Enter a launcher with the runners that it lists; what it should have and does not list has ended."""
    is_new = sender not in world.launchers
    _bury_predecessors(world, sender, message.place)
    old = [each for each in world.runners.values() if each.launcher_id == sender]
    listed = dict.fromkeys(each for each in message.runner_ids if each not in world.exited_runners)
    launcher = Launcher(sender, message.host, world.now_s, runner_ids=listed, place=message.place)
    _count_places(world, sender, -1)
    world.launchers[sender] = launcher
    _count_places(world, sender, 1)
    for runner in old:
        if runner.runner_id in listed or world.now_s - runner.since_s < deadlines.IN_TRANSIT_S:
            launcher.runner_ids[runner.runner_id] = None  # just asked for: the hello was sent before that arrived
        else:
            gone(world, runner, "its launcher has it no more", is_host_lost=True)
    for runner_id in message.runner_ids:
        if (
            runner_id in world.exited_runners
        ):  # given up while the launcher was silent; its memory is promised elsewhere
            world.send(sender, KillRunner(runner_id=runner_id, reason="it was given up"))
        elif runner_id in world.runners:
            world.runners[runner_id].launcher_id = sender
    _report(world, launcher, message.host)
    world.touched[sender] = None
    world.look_in(AlarmKind.SILENCE, sender, deadlines.SILENCE_S)
    world.look_in(AlarmKind.SETTLE, "", deadlines.SETTLE_AFTER_LAUNCHER_S)
    world.send(sender, world.welcome)
    settle_if_complete(world)
    world.wake_all()
    if is_new:
        world.note(f"launcher {sender}: {message.host.n_cores} cores, {len(message.host.devices)} devices")


def beat(world: World, sender: str, message: LauncherBeat, _payload: tuple[bytes, ...]) -> None:
    """Take a host's fresh facts."""
    launcher = world.launchers[sender]
    changes = _changes(launcher.host, message.host)
    if max(changes) > _NOTICED_BYTES:
        world.opened[sender] = None
    if not launcher.is_current or max(changes) > _JITTER_BYTES or min(changes) < -_JITTER_BYTES:
        _report(world, launcher, message.host)
    world.send(sender, world.welcome)


def exited(world: World, sender: str, message: RunnerExited, _payload: tuple[bytes, ...]) -> None:
    """Take note of a runner's end."""
    world.remember_exit(message.runner_id)
    runner = world.runners.get(message.runner_id)
    if runner is not None:
        if runner.life is RunnerLife.LOADING and message.exit_code == -signal.SIGKILL:
            # Nobody of ours killed it, so the kernel did, for lack of memory: runners are its first choice.
            load_failed(world, runner, LoadOutOfMemory("the system killed the runner while it loaded").as_failure())
        gone(world, runner, _exit_text(message.exit_code), failure=message.failure)
    world.launchers[sender].runner_ids.pop(message.runner_id, None)
    settle_if_complete(world)


def draining(world: World, sender: str, _message: LauncherDraining, _payload: tuple[bytes, ...]) -> None:
    """Place nothing more on a host, and let its runners end."""
    launcher = world.launchers[sender]
    launcher.is_draining = True
    for runner_id in list(launcher.runner_ids):
        if runner_id in world.runners:
            discard(world, world.runners[runner_id], "its host is going down")
    world.wake_all()


def drop(world: World, launcher_id: str, reason: str) -> None:
    """Give up a launcher.

    Its runners are judged by their own silence, for they may still stream; but nobody is left to report the exit of
    those that were killed.
    """
    _count_places(world, launcher_id, -1)
    launcher = world.launchers.pop(launcher_id)
    world.touched.pop(launcher_id, None)
    world.note(f"launcher {launcher_id} is given up: {reason}", logging.WARNING)
    for runner_id in launcher.runner_ids:
        runner = world.runners.get(runner_id)
        if runner is not None and runner.life in (RunnerLife.STARTING, RunnerLife.DYING):
            gone(world, runner, "its launcher is silent", is_host_lost=True)
    world.promises = {key: promise for key, promise in world.promises.items() if promise[0] != launcher_id}
    world.wake_all()


def _bury_predecessors(world: World, successor: str, place: str) -> None:
    """Take note that a launcher died: another one holds the lock of its run folder, and has reaped what was left."""
    dead = [
        each for each in world.launchers.values() if place and each.place == place and each.launcher_id != successor
    ]
    for launcher in dead:
        for runner_id in list(launcher.runner_ids):
            if runner_id in world.runners:
                gone(world, world.runners[runner_id], "its launcher has died", is_host_lost=True)
        drop(world, launcher.launcher_id, f"{successor} has taken its place")


def settle_if_complete(world: World) -> None:
    """Begin to decide once every runner that a launcher listed has spoken."""
    if world.is_settled or not world.launchers:
        return
    listed = (runner_id for launcher in world.launchers.values() for runner_id in launcher.runner_ids)
    if all(runner_id in world.runners for runner_id in listed):
        settle(world)


def settle(world: World) -> None:
    """Begin to decide."""
    world.is_settled = True
    world.wake_all()


def _changes(before: HostFacts, now: HostFacts) -> list[int]:
    """List by how much the free bytes of a host and of its devices have grown; other devices count as much more."""
    changes = [now.memory_available_bytes - before.memory_available_bytes]
    changes += [new.free_bytes - old.free_bytes for old, new in zip(before.devices, now.devices, strict=False)]
    return changes if len(before.devices) == len(now.devices) else [now.memory_total_bytes]


def _count_places(world: World, launcher_id: str, sign: int) -> None:
    launcher = world.launchers.get(launcher_id)
    world.n_places += sign * launcher.n_places if launcher is not None else 0


def _report(world: World, launcher: Launcher, host: HostFacts) -> None:
    world.n_places -= launcher.n_places
    launcher.host = host
    world.n_places += launcher.n_places
    launcher.credit, launcher.room, launcher.is_current = Share(), None, True
    launcher.free_bytes = host.memory_available_bytes + sum(device.free_bytes for device in host.devices)
    for runner_id in launcher.runner_ids:
        runner = world.runners.get(runner_id)
        if runner is not None and runner.ready_s is not None:
            runner.is_reported |= world.now_s - runner.ready_s >= deadlines.FACTS_AGE_S
        if runner is None or not runner.is_reported:
            launcher.is_current = False
            launcher.free_bytes -= runner.share.total_bytes if runner is not None else 0


def _exit_text(exit_code: int) -> str:
    return f"killed by signal {-exit_code}" if exit_code < 0 else f"exit status {exit_code}"
