"""From `Submit` to a slot or a refusal."""

import pytest

from actors.messages.gateway_to_scheduler import JobKind
from actors.messages.scheduler_to_gateway import Granted, Loaded, Refused
from actors.messages.scheduler_to_runner import Cancel, Start
from tests.actors.scheduler.stage import EPOCH, Stage, model


def refusals(stage: Stage) -> list[tuple[str, str]]:
    """List the jobs refused so far, each with its failure's code."""
    return [(refused.job_id, refused.failure.code) for refused in stage.sent("gw", Refused)]


def test_submit_to_a_ready_runner_is_granted_at_once(stage: Stage) -> None:
    """The runner gets the job with its body, the gateway learns where the answer comes from."""
    runner_id = stage.run_model()
    stage.submit("job")
    assert stage.sent(runner_id, Start) == [Start(epoch=EPOCH, job_id="job", attempt=1, gateway_id="gw")]
    assert [send.payload for send in stage.sends if isinstance(send.message, Start)] == [(b"job",)]
    [granted] = stage.sent("gw", Granted)
    assert granted == Granted(epoch=EPOCH, job_id="job", attempt=1, runner_id=runner_id, endpoint=f"ipc:///{runner_id}")


def test_submit_without_a_runner_starts_one_and_waits(stage: Stage) -> None:
    """Nothing is granted before the model is ready, then at once."""
    stage.submit("job")
    [start] = stage.started()
    assert start.model == model()
    stage.say_hello(start.runner_id)
    assert stage.sent("gw", Granted) == []
    stage.come_up_from_loading(start.runner_id)
    assert [granted.job_id for granted in stage.sent("gw", Granted)] == ["job"]


def test_submit_of_many_for_one_model_loads_it_once(stage: Stage) -> None:
    """A load that is under way serves all who wait for it."""
    for number in range(20):
        stage.submit(f"job-{number}")
    [start] = stage.started()
    stage.come_up(start.runner_id)
    assert len(stage.sent("gw", Granted)) == start.plan.n_slots
    stage.finish(start.runner_id, "job-0")
    assert stage.sent("gw", Granted)[-1].job_id == f"job-{start.plan.n_slots}"


def test_submit_beyond_the_bound_is_refused(stage: Stage) -> None:
    """OLLAMA_MAX_QUEUE counts who waits, over all models, and not who runs."""
    small = Stage(max_queue=2, num_parallel=1)
    small.open()
    small.run_model()
    small.submit("runs")
    small.submit("waits")
    small.submit("waits too", model("other"))
    small.submit("too much")
    assert refusals(small) == [("too much", "queue_full")]
    assert len(small.core.world.queue) == 2
    assert refusals(stage) == []


def test_submit_with_a_full_queue_still_uses_a_free_slot() -> None:
    """A full queue of one model does not keep another model's ready runner from work."""
    stage = Stage(max_queue=1, num_parallel=1)
    stage.open()
    stage.run_model()
    stage.submit("waits", model("other"))
    stage.submit("runs")
    stage.submit("load", kind=JobKind.LOAD)
    assert [granted.job_id for granted in stage.sent("gw", Granted)] == ["runs"]
    assert [loaded.job_id for loaded in stage.sent("gw", Loaded)][-1] == "load"
    stage.submit("too much")
    assert refusals(stage) == [("too much", "queue_full")]


def test_submit_that_waits_its_deadline_is_refused() -> None:
    """Nobody waits for ever."""
    stage = Stage(num_parallel=1, queue_timeout_s=20.0)
    stage.open()
    runner_id = stage.run_model()
    stage.submit("runs")
    stage.submit("waits")
    stage.pass_time(19.0)
    assert refusals(stage) == []
    stage.pass_time(1.5)
    assert refusals(stage) == [("waits", "queue_timeout")]
    stage.finish(runner_id, "runs")
    assert stage.sent(runner_id, Start)[-1].job_id == "runs"


def test_submit_for_a_load_needs_no_slot() -> None:
    """A load is answered as soon as the model is ready, however busy it is."""
    stage = Stage(num_parallel=1)
    stage.open()
    runner_id = stage.run_model()
    stage.submit("runs")
    stage.submit("waits")
    stage.submit("load", kind=JobKind.LOAD)
    assert stage.sent("gw", Loaded)[-1] == Loaded(epoch=EPOCH, job_id="load", attempt=1)
    assert len(stage.sent(runner_id, Start)) == 1


def test_submit_repeated_while_waiting_is_ignored(stage: Stage) -> None:
    """A duplicate changes nothing."""
    stage.submit("job")
    assert stage.submit("job") == []
    assert len(stage.core.world.queue) == 1


def test_submit_repeated_after_its_grant_is_answered_again(stage: Stage) -> None:
    """The gateway may have missed the answer; the runner does not get the job twice."""
    runner_id = stage.run_model()
    stage.submit("job")
    [answer] = stage.submit("job")
    assert isinstance(answer, Granted)
    assert len(stage.sent(runner_id, Start)) == 1


def test_submit_repeated_after_its_end_is_ignored(stage: Stage) -> None:
    """What has ended does not run again, unless with a higher attempt."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.finish(runner_id, "job")
    assert stage.submit("job") == []
    assert any(isinstance(message, Granted) for message in stage.submit("job", attempt=2))


def test_submit_with_a_higher_attempt_replaces_a_waiting_job(stage: Stage) -> None:
    """Only the last attempt is served."""
    stage.submit("job")
    stage.submit("job", attempt=2)
    stage.come_up(stage.started()[0].runner_id)
    assert [granted.attempt for granted in stage.sent("gw", Granted)] == [2]


def test_submit_with_a_higher_attempt_replaces_a_granted_job_in_its_slot(stage: Stage) -> None:
    """The runner drops the lower attempt for the higher; the late end of the lower frees nothing."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.submit("job", attempt=2)
    assert [start.attempt for start in stage.sent(runner_id, Start)] == [1, 2]
    stage.finish(runner_id, "job", attempt=1)
    assert set(stage.runner(runner_id).held) == {"job"}
    stage.finish(runner_id, "job", attempt=2)
    assert not stage.runner(runner_id).held


def test_submit_with_a_higher_attempt_while_its_runner_drains_waits_for_the_next(stage: Stage) -> None:
    """The lower attempt is cancelled, and keeps its slot until the runner says that it is free."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.unload()
    stage.submit("job", attempt=2)
    assert stage.sent(runner_id, Cancel) == [Cancel(job_id="job")]
    stage.finish(runner_id, "job", attempt=1)
    stage.exit(runner_id)
    stage.come_up(stage.started()[-1].runner_id)
    assert stage.sent("gw", Granted)[-1].attempt == 2


def test_cancel_of_a_waiting_job_drops_it(stage: Stage) -> None:
    """Its place is free at once, and nothing is granted for it later."""
    stage.submit("job")
    assert stage.cancel("job") == []
    assert len(stage.core.world.queue) == 0
    stage.come_up(stage.started()[0].runner_id)
    assert stage.sent("gw", Granted) == []


def test_cancel_of_a_running_job_frees_its_slot_when_the_runner_says_so() -> None:
    """The runner is told; until it answers, the slot is taken."""
    stage = Stage(num_parallel=1)
    stage.open()
    runner_id = stage.run_model()
    stage.submit("job")
    stage.submit("next")
    stage.cancel("job")
    stage.cancel("job")
    assert stage.sent(runner_id, Cancel) == [Cancel(job_id="job")]
    assert [granted.job_id for granted in stage.sent("gw", Granted)] == ["job"]
    stage.finish(runner_id, "job")
    assert [granted.job_id for granted in stage.sent("gw", Granted)] == ["job", "next"]


@pytest.mark.parametrize("job_id", ["never seen", "ended"])
def test_cancel_of_an_unknown_job_is_ignored(stage: Stage, job_id: str) -> None:
    """A cancel that crosses the job's end means nothing."""
    runner_id = stage.run_model()
    stage.submit("ended")
    stage.finish(runner_id, "ended")
    assert stage.cancel(job_id) == []


def test_submit_waits_its_turn_behind_its_own_model_only(stage: Stage) -> None:
    """One model's load never blocks another model's ready runner."""
    stage.run_model()
    stage.submit("loading", model("other"))
    stage.submit("ready")
    assert [granted.job_id for granted in stage.sent("gw", Granted)] == ["ready"]
