"""Gateways: hello, questions, silence."""

from actors.messages.gateway_to_scheduler import GatewayHello, ListRunners
from actors.messages.overview import RunnerStatus
from actors.messages.scheduler_to_gateway import (
    Granted,
    Lost,
    Refused,
    RunnerList,
    RunnerUp,
    Welcome,
    WhoAreYou,
)
from actors.messages.scheduler_to_runner import Cancel
from actors.scheduler import deadlines
from actors.settings import FOREVER_S
from tests.actors.scheduler.stage import EPOCH, Stage, model


def listed(stage: Stage) -> tuple[RunnerStatus, ...]:
    """Ask what is loaded."""
    [answer] = stage.hear("gw", ListRunners(request_id="ps"))
    assert isinstance(answer, RunnerList)
    assert answer.request_id == "ps"
    return answer.runners


def test_gateway_hello_is_answered_with_the_epoch_and_the_runners(stage: Stage) -> None:
    """So that it subscribes before its first job."""
    runner_id = stage.run_model()
    assert stage.hear("gw2", GatewayHello()) == [
        Welcome(epoch=EPOCH),
        RunnerUp(runner_id=runner_id, endpoint=f"ipc:///{runner_id}"),
    ]


def test_gateway_that_has_not_said_hello_is_asked_who_it_is(stage: Stage) -> None:
    """And what it wanted is not done: it offers it again after its hello."""
    assert stage.submit("job", gateway_id="stranger") == [WhoAreYou(epoch=EPOCH)]
    assert stage.core.world.jobs == {}


def test_gateway_that_is_silent_loses_its_jobs_and_others_keep_theirs() -> None:
    """Its queued jobs are dropped, its granted ones cancelled at the runner."""
    stage = Stage(num_parallel=1)
    stage.open()
    stage.gateway("gw2")
    runner_id = stage.run_model()
    stage.submit("runs", gateway_id="gw2")
    stage.submit("waits", gateway_id="gw2")
    stage.submit("other")
    del stage.beats["gw2"]
    stage.pass_time(deadlines.SILENCE_S + 0.1)
    assert stage.sent(runner_id, Cancel) == [Cancel(job_id="runs")]
    stage.finish(runner_id, "runs")
    assert stage.sent("gw", Granted)[-1].job_id == "other"
    assert [refused.job_id for refused in stage.sent("gw2", Refused)] == ["waits"]
    assert [lost.job_id for lost in stage.sent("gw2", Lost)] == ["runs"]


def test_gateway_that_does_not_get_its_answers_is_given_up(stage: Stage) -> None:
    """Nobody reads what its jobs produce."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.undelivered(next(each for each in stage.sends if isinstance(each.message, Granted)))
    assert stage.sent(runner_id, Cancel) == [Cancel(job_id="job")]
    assert "gw" not in stage.core.world.gateways


def test_gateway_that_misses_a_notice_stays(stage: Stage) -> None:
    """What it must know comes again with a grant."""
    stage.run_model()
    stage.undelivered(next(each for each in stage.sends if isinstance(each.message, RunnerUp)))
    assert "gw" in stage.core.world.gateways


def test_list_of_runners_shows_ready_ones_longest_lifetime_first(stage: Stage) -> None:
    """Loading ones are not listed."""
    stage.run_model(model("short"), keep_alive_s=10.0)
    stage.run_model(model("forever"), keep_alive_s=FOREVER_S)
    stage.submit("loads", model("loading"))
    assert [(each.name, each.expires_in_s) for each in listed(stage)] == [("forever", FOREVER_S), ("short", 10.0)]


def test_list_of_runners_counts_allowance_from_the_last_job(stage: Stage) -> None:
    """Full while it works, less and less while it idles, none while it drains."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.pass_time(100)
    assert [each.expires_in_s for each in listed(stage)] == [300.0]
    stage.finish(runner_id, "job")
    stage.pass_time(100)
    assert [round(each.expires_in_s) for each in listed(stage)] == [200]
    stage.unload()
    assert [(each.state, each.expires_in_s) for each in listed(stage)] == [("draining", 0.0)]


def test_list_of_runners_tells_slots_memory_and_waiting(stage: Stage) -> None:
    """What `ps` shows."""
    stage = Stage(num_parallel=1)
    stage.open()
    runner_id = stage.run_model()
    stage.submit("runs")
    stage.submit("waits")
    [status] = listed(stage)
    assert (status.runner_id, status.n_slots, status.n_queued, status.num_ctx) == (runner_id, 1, 1, 4096)
    assert status.size_bytes == stage.started()[0].plan.size_bytes
    assert status.n_threads == 2
