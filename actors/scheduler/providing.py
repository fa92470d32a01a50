"""What is loaded, what goes for it, and what is refused: the decisions on runners, applied to the world.

A model whose line is not empty gets a runner: where there is none, where the first in line needs other options than
what is loaded (the misfit is drained first), and, as a replica, where the line is deep and devices are idle. While
there is no room it stands in `world.unserved` and is asked again for each host on which room may have become free, and
for all of them every `deadlines.TURN_S`.

Costs: with up to `_ALL_HOSTS` hosts all are looked at, for a cluster the `_MOST_FREE` freest and those of the runners
that are cheapest to evict among the `_LONGEST_IDLE` longest idle: so a load costs about the same for any number, but
for a look at what each host has free.
"""

import heapq
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import attrgetter

from actors.errors import Draining, InsufficientMemory
from actors.messages.model import LoadPlan
from actors.scheduler import deadlines
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.job import Job
from actors.scheduler.lifecycle import drain, start_runner
from actors.scheduler.loading import Evict, HostView, LoadQuestion, Start, TooLarge, Wait, load_decision
from actors.scheduler.memory import Room, room_on, total
from actors.scheduler.peers import Launcher
from actors.scheduler.placement import misfit
from actors.scheduler.runner import Runner
from actors.scheduler.states import RunnerLife
from actors.scheduler.threads import thread_budgets
from actors.scheduler.world import World

_LOADED_PER_DEVICE = 3  # Ollama's default for OLLAMA_MAX_LOADED_MODELS
_ALL_HOSTS = 8
_MOST_FREE = 4
_CHEAPEST = 4
_LONGEST_IDLE = 32


def provide(world: World, key: str, hosts: Sequence[Launcher] | None = None) -> None:
    """See to it that a waited-for model gets a runner, on one of these hosts, or any."""
    line, fleet = world.queue.line(key), world.fleet(key)
    world.promises.pop(key, None)
    if not line.n_waiting or (fleet.n_ready and not line.n_particular and not is_deep(world, key)):
        world.unserved.pop(key, None)
        return
    is_served_soon = fleet.n_leaving or (fleet.n_loading and not is_deep(world, key))
    while not is_served_soon and (job := line.first(world.now_s)) is not None:
        record = world.record(job.model)
        refusal = record.refusal(world.now_s)
        if refusal is not None:
            world.refuse(job, refusal)
        elif world.now_s < record.opens_s:
            world.alarms.look_at(AlarmKind.RETRY, key, record.opens_s)
            break
        elif any(_is_able(world, each, job) for each in fleet.runners.values()):
            if is_deep(world, key):
                _replicate(world, job, hosts)
            else:
                world.unserved.pop(key, None)
            return
        elif _load(world, job, list(fleet.runners.values()), hosts):
            return
    world.unserved.pop(key, None)


def is_deep(world: World, key: str) -> bool:
    """Tell whether one more runner of a model would be full at once, and ready before the line is served without."""
    line, fleet = world.queue.line(key), world.fleet(key)
    if not fleet.n_ready:
        return False
    per_runner = fleet.n_slots / fleet.n_ready
    left = line.n_generations - fleet.n_loading * per_runner
    if left < per_runner:
        return False
    record = world.records.get(key)
    if record is None:  # forgotten: so many other models came since
        return False
    return left * record.usual_s > record.usual_load_s * per_runner * (fleet.n_ready + fleet.n_loading)


def max_loaded(world: World) -> int:
    """Give the bound on living runners."""
    if world.settings.max_loaded_models is not None:
        return world.settings.max_loaded_models
    return _LOADED_PER_DEVICE * world.n_places


def core_demands(world: World, launcher: Launcher) -> dict[str, int | None]:
    """List the runners of a host that use cores, oldest first, with the threads that requests named for them."""
    runners = (world.runners.get(runner_id) for runner_id in launcher.runner_ids)
    return {each.runner_id: each.named_threads for each in runners if each is not None and each.uses_cores}


def _is_able(world: World, runner: Runner, job: Job) -> bool:
    if runner.life is not RunnerLife.READY:
        return False
    return job.is_easy or runner.serves(job.model, job.options, has_devices=world.has_devices(runner))


def _load(world: World, job: Job, misfits: list[Runner], hosts: Sequence[Launcher] | None) -> bool:
    """Load a job's model, or make room for it, or refuse the job; False iff it was refused.

    `misfits` are ready runners of the model with which the job cannot do: one of them has to go first.
    """
    _stand(world, job)
    takers = hosts if hosts is not None else _candidates(world)
    views = [_view(world, each, job.model.key) for each in takers if each.takes_runners]
    if not views:
        if hosts is not None or not any(each.is_draining for each in world.launchers.values()):
            return True
        world.refuse(job, Draining().as_failure())
        return False
    decision = load_decision(_question(world, job), views)
    if isinstance(decision, TooLarge) and len(views) < len(world.launchers):
        if hosts is not None:
            return True
        takers = [each for each in world.launchers.values() if each.takes_runners]
        decision = load_decision(_question(world, job), [_view(world, each, job.model.key) for each in takers])
    if isinstance(decision, TooLarge):
        failure = InsufficientMemory(
            job.model.name, needed_bytes=decision.needed_bytes, available_bytes=decision.available_bytes
        )
        world.refuse(job, failure.as_failure())
        return False
    if misfits:
        runner = min(misfits, key=lambda each: len(each.held))
        drain(world, runner, f"a request needs other load options: {_misfit(world, runner, job)}")
        return True
    _apply(world, job, decision, cause=_cause(world, job))
    return True


def _replicate(world: World, job: Job, hosts: Sequence[Launcher] | None) -> None:
    """Load one more runner of a model onto idle devices, if that is cheap enough."""
    _stand(world, job)
    fleet, record = world.fleet(job.model.key), world.record(job.model)
    line_s = world.queue.line(job.model.key).n_generations * record.usual_s / fleet.n_slots
    taken = hosts if hosts is not None else _candidates(world)
    views = [view for each in taken if each.takes_runners and (view := _idle_view(world, each, job.model.key))]
    if views:
        decision = load_decision(_question(world, job, most_cost_s=line_s), views)
        if isinstance(decision, Start | Evict):
            _apply(world, job, decision, cause=f"replica {fleet.n_ready + 1}: the line is {line_s:.1f} s long")


def _stand(world: World, job: Job) -> None:
    """Note that a model waits for room."""
    if job.model.key not in world.unserved:
        world.unserved[job.model.key] = None
        world.look_in(AlarmKind.TURN, job.model.key, deadlines.TURN_S)


def _apply(world: World, job: Job, decision: Start | Evict | Wait, *, cause: str) -> None:
    if isinstance(decision, Start):
        launcher, placement = world.launchers[decision.launcher_id], decision.placement
        demands = core_demands(world, launcher)
        demands[""] = job.options.num_thread or None
        n_threads = thread_budgets(launcher.host.n_cores, demands)[""]
        start_runner(world, launcher, job, placement, n_threads=n_threads, cause=cause)
        world.unserved.pop(job.model.key, None)
        return
    if isinstance(decision, Evict):
        for runner in decision.victims:
            drain(world, runner, f"room for {job.model.name}")
    if decision.launcher_id is not None and decision.placement is not None:
        world.promises[job.model.key] = (decision.launcher_id, decision.placement.share)


def _question(world: World, job: Job, *, most_cost_s: float = float("inf")) -> LoadQuestion:
    n_excess_now = len(world.runners) + len(world.promises) + 1 - max_loaded(world)
    return LoadQuestion(
        model=job.model,
        options=job.options,
        settings=world.settings,
        n_excess=n_excess_now - world.n_leaving,
        n_excess_now=n_excess_now,
        cost_s=world.eviction_cost_s,
        most_cost_s=most_cost_s,
        may_drain_busy=world.now_s - job.queued_s >= deadlines.TURN_S and most_cost_s == float("inf"),
        known=world.record(job.model).experience,
    )


def _cause(world: World, job: Job) -> str:
    record = world.record(job.model)
    if record.n_ooms:
        return "again, alone: the last load ran out of memory"
    if record.n_deaths and record.last_failure is not None:
        return f"again, after: {record.last_failure.message}"
    return record.drained_for or f"a request of {job.gateway_id}"


def _misfit(world: World, runner: Runner, job: Job) -> str:
    plan: LoadPlan = runner.plan
    reason = misfit(plan, job.options, job.model, has_devices=world.has_devices(runner)) or "it is gone"
    world.record(job.model).drained_for = f"reloaded: {reason}"
    return reason


def _candidates(world: World) -> list[Launcher]:
    """List the hosts to look at: all of a few, the most promising of many."""
    launchers = world.launchers
    if len(launchers) <= _ALL_HOSTS:
        return list(launchers.values())
    freest = heapq.nlargest(_MOST_FREE, launchers.values(), key=attrgetter("free_bytes"))
    found = {each.launcher_id: each for each in freest}
    idle = (each for each in islice(world.idle.values(), _LONGEST_IDLE) if not each.is_permanent)
    for runner in heapq.nsmallest(_CHEAPEST, idle, key=world.eviction_cost_s):
        launcher = world.launcher_of(runner)
        if launcher is not None:
            found[launcher.launcher_id] = launcher
    return list(found.values())


def _view(world: World, launcher: Launcher, key: str) -> HostView:
    runners = _runners_on(world, launcher)
    promised = (
        share for other, (host, share) in world.promises.items() if other != key and host == launcher.launcher_id
    )
    return HostView(
        launcher_id=launcher.launcher_id,
        room=_free_room(world, launcher).minus(total(promised)) if world.promises else _free_room(world, launcher),
        staying=tuple(each for each in runners if not each.is_leaving),
        leaving=tuple(each for each in runners if each.is_leaving),
    )


def _idle_view(world: World, launcher: Launcher, key: str) -> HostView | None:
    """Look at the idle part of a host: devices on which nothing computes, or a host without devices that is idle."""
    view = _view(world, launcher, key)
    busy = [each for each in view.staying if each.uses_cores or each.model.key == key]
    if not launcher.host.devices:
        return None if busy else view
    taken = {index for each in busy for index in each.share.device_bytes}
    idle = {index for index in view.room.device_bytes if index not in taken}
    if not idle:
        return None
    staying = tuple(each for each in view.staying if each not in busy and idle.issuperset(each.share.device_bytes))
    return HostView(view.launcher_id, view.room.on_devices(idle), staying, view.leaving)


def _free_room(world: World, launcher: Launcher) -> Room:
    if launcher.room is None:
        runners = _runners_on(world, launcher)
        launcher.room = room_on(
            launcher.host,
            living=total(each.share for each in runners),
            unreported=total(each.share for each in runners if not each.is_reported),
            credit=launcher.credit,
            device_overhead_bytes=world.settings.gpu_overhead_bytes,
        )
    return launcher.room


def _runners_on(world: World, launcher: Launcher) -> list[Runner]:
    known: Iterable[Runner | None] = (world.runners.get(each) for each in launcher.runner_ids)
    return [each for each in known if each is not None]
