"""What gateways say, beside `Submit` and `CancelJob` (see `admission`), and what becomes of a silent one."""

import logging

from actors.errors import CapacityError
from actors.messages.gateway_to_scheduler import GatewayBeat, GatewayHello, Pin, Retire, Unload
from actors.messages.scheduler_to_gateway import Lost, RunnerUp, Unloading
from actors.messages.scheduler_to_runner import KeepAlive
from actors.scheduler import deadlines
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.holdings import cancel, set_keep_alive
from actors.scheduler.lifecycle import discard, drain
from actors.scheduler.peers import Gateway
from actors.scheduler.states import JobLife, RunnerLife
from actors.scheduler.world import World

_MOST_PINNED = 1024


def hello(world: World, sender: str, _message: GatewayHello, _payload: tuple[bytes, ...]) -> None:
    """Enter a gateway, and tell it where the runners are."""
    world.gateways[sender] = Gateway(sender, world.now_s)
    world.look_in(AlarmKind.SILENCE, sender, deadlines.SILENCE_S)
    world.send(sender, world.welcome)
    for runner in world.runners.values():
        if runner.endpoint:
            world.send(sender, RunnerUp(runner_id=runner.runner_id, endpoint=runner.endpoint))


def beat(world: World, sender: str, _message: GatewayBeat, _payload: tuple[bytes, ...]) -> None:
    """Answer a heartbeat."""
    world.send(sender, world.welcome)


def drop(world: World, gateway_id: str, reason: str) -> None:
    """Give up a gateway: nobody reads its answers any more.

    Should it live after all, it is told about its jobs, as far as messages reach it.
    """
    del world.gateways[gateway_id]
    world.note(f"gateway {gateway_id} is given up: {reason}", logging.WARNING)
    failure = CapacityError(f"the gateway was cut off ({reason}), please try again", retry_after_s=1).as_failure()
    for job in [each for each in world.jobs.values() if each.gateway_id == gateway_id]:
        if job.life is JobLife.QUEUED:
            world.refuse(job, failure)
        elif job.life is JobLife.GRANTED:
            cancel(world, job)
            lost = Lost(epoch=world.epoch, job_id=job.job_id, attempt=job.attempt, failure=failure)
            world.send(gateway_id, lost)
    world.wake_all()


def unload(world: World, sender: str, message: Unload, _payload: tuple[bytes, ...]) -> None:
    """Unload a model once its running jobs, and those that wait for it already, have ended."""
    runners = [each for each in world.serving(message.model_key) if not each.is_leaving]
    is_waited_for = world.queue.n_waiting_for(message.model_key) > 0
    for runner in runners:
        if is_waited_for:
            set_keep_alive(world, runner, 0.0)
        elif runner.life is RunnerLife.READY:
            drain(world, runner, "asked for")
        else:
            discard(world, runner, "unloaded while it was loading")
    world.send(sender, Unloading(request_id=message.request_id, n_runners=len(runners)))


def pin(world: World, sender: str, message: Pin, _payload: tuple[bytes, ...]) -> None:
    """Pin a model, or let it go again; its runners remember it for the next scheduler."""
    if message.is_pinned:
        world.pinned[message.model_key] = None
    else:
        world.pinned.pop(message.model_key, None)
    runners = world.serving(message.model_key)
    for runner in runners:
        runner.is_pinned = message.is_pinned
        world.send(runner.runner_id, KeepAlive(keep_alive_s=runner.keep_alive_s, is_pinned=message.is_pinned))
        world.vacated[runner.runner_id] = runner
        world.open_room(runner)
    while len(world.pinned) > _MOST_PINNED:
        del world.pinned[next(iter(world.pinned))]
    world.send(sender, Unloading(request_id=message.request_id, n_runners=len(runners)))


def retire(world: World, sender: str, message: Retire, _payload: tuple[bytes, ...]) -> None:
    """Drain a host or a runner, or let a host take runners again."""
    launcher, runner = world.launchers.get(message.target), world.runners.get(message.target)
    concerned = [runner] if runner is not None and message.is_draining else []
    if launcher is not None:
        launcher.is_draining = message.is_draining
        concerned = [world.runners[each] for each in launcher.runner_ids if each in world.runners]
        world.wake_all()
    for each in concerned if message.is_draining else ():
        discard(world, each, "drained by hand")
    is_known = launcher is not None or runner is not None
    world.send(sender, Unloading(request_id=message.request_id, n_runners=len(concerned) if is_known else -1))
