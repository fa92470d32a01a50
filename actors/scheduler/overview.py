"""The scheduler's state for people: what `/api/ps`, `/api/status` and `actorctl top` show. Changes nothing.

Bound: an overview lists at most `_MOST` of each kind, so that its message stays within a frame.
"""

from itertools import islice

from actors.messages.gateway_to_scheduler import ListRunners, Survey
from actors.messages.overview import HostStatus, ModelStatus, RunnerStatus, WaiterStatus
from actors.messages.scheduler_to_gateway import Overview, RunnerList
from actors.scheduler.foresight import turns, wait_s
from actors.scheduler.job import Job
from actors.scheduler.runner import Runner
from actors.scheduler.states import RunnerLife
from actors.scheduler.world import World
from actors.settings import FOREVER_S

_MOST = 1000


def list_runners(world: World, sender: str, message: ListRunners, _payload: tuple[bytes, ...]) -> None:
    """Answer what is loaded."""
    listed = [each for each in world.runners.values() if each.life in (RunnerLife.READY, RunnerLife.DRAINING)]
    statuses = sorted((_runner(world, each) for each in listed), key=lambda status: -status.expires_in_s)
    world.send(sender, RunnerList(request_id=message.request_id, runners=tuple(statuses)))


def survey(world: World, sender: str, message: Survey, _payload: tuple[bytes, ...]) -> None:
    """Answer with everything."""
    overview = Overview(
        request_id=message.request_id,
        hosts=tuple(_host(world, launcher_id) for launcher_id in islice(world.launchers, _MOST)),
        runners=tuple(_runner(world, each) for each in islice(world.runners.values(), _MOST)),
        waiting=tuple(islice((each for key in world.queue.waited_for() for each in _waiters(world, key)), _MOST)),
        models=tuple(_models(world)),
        notes=tuple(world.notes),
    )
    world.send(sender, overview)


def _host(world: World, launcher_id: str) -> HostStatus:
    launcher = world.launchers[launcher_id]
    return HostStatus(
        launcher_id=launcher_id,
        facts=launcher.host,
        n_runners=len(launcher.runner_ids),
        is_draining=launcher.is_draining,
    )


def _runner(world: World, runner: Runner) -> RunnerStatus:
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
        n_held=len(runner.held) - runner.n_slotless,
        host=runner.launcher_id or "",
        where=runner.where,
        cause=runner.cause,
        is_pinned=runner.is_pinned,
    )


def _expires_in_s(world: World, runner: Runner) -> float:
    if runner.life is RunnerLife.DRAINING:
        return 0.0
    if runner.is_permanent:
        return FOREVER_S
    return runner.keep_alive_s if runner.held else max(0.0, runner.expires_s - world.now_s)


def _waiters(world: World, key: str) -> list[WaiterStatus]:
    found = [_waiter(world, job, place, left_s) for place, (job, left_s) in enumerate(turns(world, key))]
    return found + [_waiter(world, job, None, wait_s(world, key, 0)) for job in world.queue.line(key).loads.values()]


def _waiter(world: World, job: Job, place: int | None, left_s: float) -> WaiterStatus:
    return WaiterStatus(
        job_id=job.job_id,
        name=job.model.name,
        tenant=job.tenant,
        priority=job.priority,
        waited_s=world.now_s - job.queued_s,
        place=place,
        wait_s=left_s,
    )


def _models(world: World) -> list[ModelStatus]:
    known = [(key, record) for key, record in world.records.items() if key in world.fleets or record.n_deaths]
    return [
        ModelStatus(
            name=record.model.name,
            load_s=record.load_s,
            service_s=record.service_s,
            n_deaths=record.n_deaths,
            suspended_for_s=max(0.0, record.opens_s - world.now_s) if record.is_open else 0.0,
            last_failure=record.last_failure.message if record.last_failure is not None else "",
        )
        for _, record in known[:_MOST]
    ]
