"""Who gets a slot, what is loaded, and what goes for it: the decisions, applied to the world.

Rules. Slots first, loads second, so that no runner is evicted whose queue could use it. Per model first come, first
served. A waiting load never stands in the way of another model's slots; among models that wait for memory the longest
waiting is asked first, and what it was promised is not given to the next.
"""

import msgspec

from actors.errors import Draining, InsufficientMemory
from actors.messages.scheduler_to_gateway import Loaded
from actors.scheduler import deadlines
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.holdings import grant, use
from actors.scheduler.job import Job
from actors.scheduler.lifecycle import drain, start_runner
from actors.scheduler.loading import Evict, HostView, LoadQuestion, Start, TooLarge, Wait, load_decision
from actors.scheduler.memory import Room, Share, room_on, total
from actors.scheduler.peers import Launcher
from actors.scheduler.placement import Placement
from actors.scheduler.runner import Runner
from actors.scheduler.states import JobStep, RunnerLife
from actors.scheduler.threads import thread_budgets
from actors.scheduler.world import World

_LOADED_PER_DEVICE = 3  # Ollama's default for OLLAMA_MAX_LOADED_MODELS


def schedule(world: World) -> None:
    """Grant, load, evict and refuse as the present state asks for; a second call right after changes nothing."""
    world.has_changed = False
    if not world.is_settled or not len(world.queue):
        return
    for key in world.queue.by_age():
        _serve(world, key)
    promises: dict[str, Share] = {}
    for key in world.queue.by_age():
        _provide(world, key, promises)


def settle_idle(world: World, runner: Runner) -> None:
    """Unload a runner whose idle allowance is over, or look again when it will be."""
    if not runner.is_idle or runner.is_permanent:
        return
    if world.now_s >= runner.expires_s:
        drain(world, runner, "its keep-alive is over")
    else:
        world.alarms.look_at(AlarmKind.IDLE, runner.runner_id, runner.expires_s)


def max_loaded(world: World) -> int:
    """Give the bound on living runners."""
    automatic = sum(_LOADED_PER_DEVICE * max(1, len(each.host.devices)) for each in world.launchers.values())
    return world.settings.max_loaded_models or automatic


def _serve(world: World, key: str) -> None:
    """Give out the slots of a model."""
    for job in world.queue.loads_for(key):
        ready = (each for each in world.serving(key) if each.life is RunnerLife.READY)
        runner = next((each for each in ready if _can_serve(world, each, job)), None)
        if runner is not None:
            _answer_load(world, runner, job)
    while (waiting := world.queue.next_generation(key)) is not None:
        job = waiting
        free = [each for each in world.serving(key) if each.has_free_slot and _can_serve(world, each, job)]
        if not free:
            return
        grant(world, min(free, key=lambda each: len(each.held)), job)


def _answer_load(world: World, runner: Runner, job: Job) -> None:
    world.queue.remove(job)
    world.end_job(job, JobStep.LOAD)
    runner.idle_since_s = world.now_s
    world.vacated[runner.runner_id] = runner
    use(world, runner, job)
    world.send(job.gateway_id, Loaded(epoch=world.epoch, job_id=job.job_id, attempt=job.attempt))


def _provide(world: World, key: str, promises: dict[str, Share]) -> None:
    """See to it that a waited-for model gets a runner."""
    runners = world.serving(key)
    if any(each.is_loading or each.is_leaving for each in runners):
        return
    while (job := world.queue.head(key)) is not None:
        if any(_can_serve(world, each, job) for each in runners):
            return  # all its slots are taken, or it is not reachable just now
        if _load(world, job, runners, promises):
            return


def _load(world: World, job: Job, present: list[Runner], promises: dict[str, Share]) -> bool:
    """Load a job's model, or make room for it, or refuse the job; False iff it was refused.

    `present` are ready runners of the model with which the job cannot do: they have to go first.
    """
    hosts = [_view(world, each, promises) for each in world.launchers.values() if each.takes_runners]
    if not hosts:
        if not any(each.is_draining for each in world.launchers.values()):
            return True
        world.refuse(job, Draining().as_failure())
        return False
    decision = load_decision(_question(world, job, n_promised=len(promises)), hosts)
    if isinstance(decision, TooLarge):
        failure = InsufficientMemory(
            job.model.name, needed_bytes=decision.needed_bytes, available_bytes=decision.available_bytes
        )
        world.refuse(job, failure.as_failure())
        return False
    if present:
        for runner in present:
            drain(world, runner, "a request needs other load options")
        return True
    if isinstance(decision, Start):
        launcher = world.launchers[decision.launcher_id]
        _start(world, launcher, job, decision.placement)
    if isinstance(decision, Evict):
        for runner in decision.victims:
            drain(world, runner, f"room for {job.model.name}")
    if isinstance(decision, Evict | Wait) and decision.launcher_id is not None and decision.placement is not None:
        promised = promises.get(decision.launcher_id, Share())
        promises[decision.launcher_id] = promised + decision.placement.share
    return True


def _question(world: World, job: Job, *, n_promised: int) -> LoadQuestion:
    n_excess_now = len(world.runners) + n_promised + 1 - max_loaded(world)
    return LoadQuestion(
        model=job.model,
        options=job.options,
        settings=world.settings,
        n_excess=n_excess_now - sum(each.is_leaving for each in world.runners.values()),
        n_excess_now=n_excess_now,
        may_drain_busy=world.now_s - job.queued_s >= deadlines.TURN_S,
    )


def _start(world: World, launcher: Launcher, job: Job, placement: Placement) -> None:
    demands = core_demands(world, launcher)
    demands[""] = job.options.num_thread or None
    plan = msgspec.structs.replace(placement.plan, n_threads=thread_budgets(launcher.host.n_cores, demands)[""])
    start_runner(world, launcher, job, placement, plan)


def core_demands(world: World, launcher: Launcher) -> dict[str, int | None]:
    """List the runners of a host that use cores, oldest first, with the threads that requests named for them."""
    runners = (world.runners.get(runner_id) for runner_id in launcher.runner_ids)
    return {each.runner_id: each.named_threads for each in runners if each is not None and each.uses_cores}


def _can_serve(world: World, runner: Runner, job: Job) -> bool:
    return runner.serves(job.model, job.options, has_devices=world.has_devices(runner))


def _view(world: World, launcher: Launcher, promises: dict[str, Share]) -> HostView:
    runners = [world.runners[each] for each in launcher.runner_ids if each in world.runners]
    return HostView(
        launcher_id=launcher.launcher_id,
        room=_room(launcher, runners).minus(promises.get(launcher.launcher_id, Share())),
        staying=tuple(each for each in runners if not each.is_leaving),
        leaving=tuple(each for each in runners if each.is_leaving),
    )


def _room(launcher: Launcher, runners: list[Runner]) -> Room:
    return room_on(
        launcher.host,
        living=total(each.share for each in runners),
        unreported=total(each.share for each in runners if not each.is_reported),
        credit=launcher.credit,
    )
