"""Who gets a slot, and which queue is looked at when: the decisions on jobs, applied to the world.

Rules. Slots first, loads second (`providing`), so that no runner is evicted whose queue could use it. Within a model
the order is its line's. A waiting load never stands in the way of another model's slots; among models that wait for
room the longest waiting is asked first, and what it was promised is not given to the next.

Costs: an event looks at the queues that it woke, and, for models that wait for room, at the hosts that it opened.
"""

from collections.abc import Callable

from actors.messages.gateway_to_scheduler import JobKind
from actors.messages.scheduler_to_gateway import Loaded
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.holdings import grant, use
from actors.scheduler.job import Job
from actors.scheduler.lifecycle import drain
from actors.scheduler.line import Line
from actors.scheduler.providing import provide
from actors.scheduler.runner import Runner
from actors.scheduler.states import JobStep, RunnerLife
from actors.scheduler.world import World

_MOST_INSPECTIONS = 64
"""At one runner at once: its tokenizer takes them one after the other anyway."""


def schedule(world: World) -> None:
    """Grant, load, evict and refuse as what has changed asks for; a second call right after changes nothing."""
    if not world.is_settled:
        return
    woken, world.woken = world.woken, {}
    opened, world.opened = world.opened, {}
    must_replan, world.must_replan = world.must_replan, False
    for key in woken:
        _serve(world, key)
    if must_replan:
        for key in [*world.unserved, *(key for key in woken if key not in world.unserved)]:
            provide(world, key)
        return
    if world.unserved:
        hosts = [world.launchers[each] for each in opened if each in world.launchers]
        for key in list(world.unserved) if hosts else ():
            provide(world, key, hosts)
    for key in woken:
        if key not in world.unserved or not world.queue.line(key).n_waiting:
            provide(world, key)


def serve_at_once(world: World, job: Job, payload: tuple[bytes, ...]) -> bool:
    """Serve a job that is not in the queue if that is possible now and fair to those in it."""
    line = world.queue.line(job.model.key)
    if not job.needs_slot:
        runner = _loaded_for(world, job)
        if runner is not None:
            _serve_slotless(world, runner, job, payload)
    elif line.waits_for_slot:
        return False
    else:
        runner = _runner_for(world, job)
        if runner is not None:
            grant(world, runner, job, payload)
    return runner is not None


def settle_idle(world: World, runner: Runner) -> None:
    """Unload a runner whose idle allowance is over, or look again when it will be."""
    if not runner.is_idle or runner.is_permanent:
        return
    if world.now_s >= runner.expires_s:
        drain(world, runner, "its keep-alive is over")
    else:
        world.alarms.look_at(AlarmKind.IDLE, runner.runner_id, runner.expires_s)


def _serve(world: World, key: str) -> None:
    """Give out the slots of a model."""
    line = world.queue.line(key)
    if line.n_waiting > line.n_generations:
        _serve_apart(world, line)
    fleet = world.fleet(key)
    while fleet.has_free_slot and (waiting := line.next_generation(world.now_s)) is not None:
        runner = _runner_for(world, waiting)
        if runner is None:
            return
        grant(world, runner, waiting, world.take_out(waiting))


def _serve_apart(world: World, line: Line) -> None:
    """Serve loads and inspections, and suspects."""
    for job in list(line.loads.values()):
        loaded = _loaded_for(world, job)
        if loaded is not None:
            _serve_slotless(world, loaded, job, world.take_out(job))
    for job in list(line.suspects.values()):
        runner = _runner_for(world, job)
        if runner is None:
            return
        grant(world, runner, job, world.take_out(job))


def _runner_for(world: World, job: Job) -> Runner | None:
    """Choose the runner with a free slot that is warmest for a job, else the least busy one."""
    fleet, suits = world.fleet(job.model.key), _suits(world, job)
    if job.prefixes:
        warm = fleet.runners.get(world.warmth.warmest(job.model.key, job.prefixes) or "")
        if warm is not None and warm.has_free_slot and suits(warm):
            return warm
    return fleet.least_busy(suits)


def _suits(world: World, job: Job) -> Callable[[Runner], bool]:
    if job.is_suspect:
        return lambda runner: not runner.has_suspect and can_serve(world, runner, job)
    if job.is_easy:
        return _any
    return lambda runner: can_serve(world, runner, job)


def _any(_runner: Runner) -> bool:
    return True


def can_serve(world: World, runner: Runner, job: Job) -> bool:
    """Tell whether a job's options fit a runner's plan."""
    return job.is_easy or runner.serves(job.model, job.options, has_devices=world.has_devices(runner))


def _loaded_for(world: World, job: Job) -> Runner | None:
    ready = (each for each in world.fleet(job.model.key).runners.values() if each.life is RunnerLife.READY)
    if job.kind is JobKind.INSPECT:
        ready = (each for each in ready if each.is_reachable and each.n_slotless < _MOST_INSPECTIONS)
    return next((each for each in ready if can_serve(world, each, job)), None)


def _serve_slotless(world: World, runner: Runner, job: Job, payload: tuple[bytes, ...]) -> None:
    """Hand an inspection to a runner, or answer a load job, which ends with this."""
    if job.kind is JobKind.INSPECT:
        grant(world, runner, job, payload)
        return
    world.end_job(job, JobStep.LOAD)
    runner.idle_since_s = world.now_s
    world.vacated[runner.runner_id] = runner
    use(world, runner, job)
    world.send(job.gateway_id, Loaded(epoch=world.epoch, job_id=job.job_id, attempt=job.attempt))
