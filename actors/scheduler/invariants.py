"""What holds in the scheduler between any two events."""

from actors.errors import Bug
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.states import JobLife, RunnerLife
from actors.scheduler.world import World


def check(world: World) -> None:
    """Check all invariants.

    Raises:
        Bug: one does not hold; the text says which.
    """
    _check_jobs(world)
    _check_runners(world)
    _check_marks(world)


def _check_jobs(world: World) -> None:
    waiting = list(world.queue)
    _require(len(waiting) == len(world.queue), "the queue's length is what it counts")
    _require(
        sum(not job.was_returned for job in waiting) <= world.settings.max_queue, "the queue keeps within its bound"
    )
    for job in waiting:
        _require(world.jobs.get(job.job_id) is job, f"waiting job {job.job_id} is in the job table")
        _require(job.life is JobLife.QUEUED and not job.runner_id, f"waiting job {job.job_id} has no runner")
        _require((AlarmKind.QUEUE, job.model.key) in world.alarms, f"waiting job {job.job_id} has a deadline")
    n_waiting = sum(job.life is JobLife.QUEUED for job in world.jobs.values())
    _require(n_waiting == len(waiting), "every queued job waits in the queue")
    for job in world.jobs.values():
        if job.life is not JobLife.QUEUED:
            runner = world.runners.get(job.runner_id)
            _require(
                runner is not None and job.job_id in runner.held, f"granted job {job.job_id} is held by a living runner"
            )
            _require(job.life in (JobLife.GRANTED, JobLife.CANCELLING), f"ended job {job.job_id} left the table")


def _check_runners(world: World) -> None:
    for runner_id, runner in world.runners.items():
        _require(runner.life is not RunnerLife.GONE, f"runner {runner_id} is not gone")
        _require(world.fleet(runner.model.key).runners.get(runner_id) is runner, f"runner {runner_id} is indexed")
        _require((runner_id in world.idle) == runner.is_idle, f"idle runner {runner_id} is among the idle")
        is_listed = world.fleet(runner.model.key).lists(runner)
        _require(is_listed == runner.has_free_slot, f"runner {runner_id} is found iff it has a free slot")
        if runner.life is RunnerLife.STARTING:
            _require((AlarmKind.START, runner_id) in world.alarms, f"starting runner {runner_id} has a deadline")
        elif runner.is_loading:
            _require((AlarmKind.LOAD, runner_id) in world.alarms, f"loading runner {runner_id} has a deadline")
        if runner.life is RunnerLife.DYING or (runner.life is RunnerLife.DRAINING and not runner.held):
            _require((AlarmKind.EXIT, runner_id) in world.alarms, f"leaving runner {runner_id} has a deadline")
        if runner.life in (RunnerLife.LOADING, RunnerLife.READY, RunnerLife.DRAINING):
            _require((AlarmKind.SILENCE, runner_id) in world.alarms, f"runner {runner_id} is listened for")
        if runner.is_idle and not runner.is_permanent:
            _require((AlarmKind.IDLE, runner_id) in world.alarms, f"idle runner {runner_id} expires")
    _require(world.n_places == sum(each.n_places for each in world.launchers.values()), "all devices count")
    fleets = world.fleets.values()
    _require(sum(len(each.runners) for each in fleets) == len(world.runners), "the fleets hold nothing else")
    _require(len(world.idle) <= len(world.runners), "nothing that is gone is among the idle")
    for fleet in fleets:
        ready = [each for each in fleet.runners.values() if each.life is RunnerLife.READY]
        _require((fleet.n_ready, fleet.n_slots) == (len(ready), sum(r.plan.n_slots for r in ready)), "ready ones count")
        _require(fleet.n_loading == sum(each.is_loading for each in fleet.runners.values()), "loading ones count")
        _require(fleet.n_leaving == sum(each.is_leaving for each in fleet.runners.values()), "leaving ones count")
    _require(world.n_leaving == sum(each.n_leaving for each in fleets), "all leaving ones count")


def _check_marks(world: World) -> None:
    is_decided = not world.is_settled or not (world.woken or world.opened or world.must_replan)
    is_quiet = is_decided and not (world.vacated or world.touched or world.effects)
    _require(is_quiet, "nothing is left to be done")
    for key in world.unserved:
        _require(len(world.queue.line(key)) > 0, f"somebody waits for {key}, which is unserved")
        _require((AlarmKind.TURN, key) in world.alarms, f"unserved {key} is looked at again")
    for key in world.promises:
        _require(key in world.unserved, f"{key} is promised room because it waits for it")
    for peer in (*world.gateways, *world.launchers):
        _require((AlarmKind.SILENCE, peer) in world.alarms, f"peer {peer} is listened for")


def _require(holds: bool, invariant: str) -> None:  # noqa: FBT001 - reads as a sentence at every call
    if not holds:
        raise Bug(f"broken invariant of the scheduler: {invariant}")
