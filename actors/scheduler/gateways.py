"""What gateways say, beside `Submit` and `CancelJob` (see `admission`), and what becomes of a silent one."""

import logging

from actors.errors import CapacityError
from actors.messages.gateway_to_scheduler import GatewayBeat, GatewayHello, ListRunners, Unload
from actors.messages.scheduler_to_gateway import (
    Lost,
    RunnerList,
    RunnerStatus,
    RunnerUp,
    Unloading,
    Welcome,
)
from actors.scheduler import deadlines
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.holdings import cancel, set_keep_alive
from actors.scheduler.lifecycle import discard, drain
from actors.scheduler.peers import Gateway
from actors.scheduler.runner import Runner
from actors.scheduler.states import JobLife, RunnerLife
from actors.scheduler.world import World
from actors.settings import FOREVER_S


def hello(world: World, sender: str, _message: GatewayHello, _payload: tuple[bytes, ...]) -> None:
    """Enter a gateway, and tell it where the runners are."""
    world.gateways[sender] = Gateway(sender, world.now_s)
    world.look_in(AlarmKind.SILENCE, sender, deadlines.SILENCE_S)
    world.send(sender, Welcome(epoch=world.epoch))
    for runner in world.runners.values():
        if runner.endpoint:
            world.send(sender, RunnerUp(runner_id=runner.runner_id, endpoint=runner.endpoint))


def beat(world: World, sender: str, _message: GatewayBeat, _payload: tuple[bytes, ...]) -> None:
    """Answer a heartbeat."""
    world.send(sender, Welcome(epoch=world.epoch))


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


def list_runners(world: World, sender: str, message: ListRunners, _payload: tuple[bytes, ...]) -> None:
    """Answer what is loaded."""
    listed = [each for each in world.runners.values() if each.life in (RunnerLife.READY, RunnerLife.DRAINING)]
    statuses = sorted((_status(world, each) for each in listed), key=lambda status: -status.expires_in_s)
    world.send(sender, RunnerList(request_id=message.request_id, runners=tuple(statuses)))


def _status(world: World, runner: Runner) -> RunnerStatus:
    return RunnerStatus(
        runner_id=runner.runner_id,
        name=runner.model.name,
        digest=runner.model.digest,
        details=runner.model.details,
        state=runner.life.value,
        size_bytes=runner.share.total_bytes,
        size_vram_bytes=sum(runner.share.device_bytes.values()),
        num_ctx=runner.plan.num_ctx,
        n_slots=runner.plan.n_slots,
        n_threads=runner.n_threads,
        n_queued=world.queue.n_waiting_for(runner.model.key),
        expires_in_s=_expires_in_s(world, runner),
        use=runner.use,
    )


def _expires_in_s(world: World, runner: Runner) -> float:
    if runner.life is RunnerLife.DRAINING:
        return 0.0
    if runner.is_permanent:
        return FOREVER_S
    return runner.keep_alive_s if runner.held else max(0.0, runner.expires_s - world.now_s)
