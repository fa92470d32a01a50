"""Runners: their hello, their silence, their end, and agreeing on what they hold."""

import pytest

from actors.errors import LoadFailed
from actors.messages.model import JobRef, RunnerUse
from actors.messages.runner_to_scheduler import RunnerBeat, RunnerHello, RunnerLoadFailed, RunnerReady, RunnerState
from actors.messages.scheduler_to_gateway import Granted, Lost, Refused, RunnerGone, RunnerUp, Welcome, WhoAreYou
from actors.messages.scheduler_to_launcher import KillRunner
from actors.messages.scheduler_to_runner import Cancel, Start
from actors.scheduler import deadlines
from actors.scheduler.events import Send
from actors.scheduler.states import RunnerLife
from tests.actors.scheduler.stage import Stage, model, plan


def hello(*jobs: JobRef, state: RunnerState = RunnerState.READY) -> RunnerHello:
    """Make the hello of a runner that this scheduler has not started."""
    return RunnerHello(
        state=state, model=model(), plan=plan(n_slots=2), endpoint="ipc:///old", jobs=jobs, keep_alive_s=77.0
    )


def test_runner_hello_is_announced_to_every_gateway(stage: Stage) -> None:
    """So that they are subscribed before the first job needs it."""
    stage.gateway("gw2")
    stage.submit("job")
    [start] = stage.started()
    stage.say_hello(start.runner_id)
    up = [RunnerUp(runner_id=start.runner_id, endpoint=f"ipc:///{start.runner_id}")]
    assert stage.sent("gw", RunnerUp) == up
    assert stage.sent("gw2", RunnerUp) == up


def test_runner_that_cannot_load_has_its_waiters_refused_and_is_not_started_again(stage: Stage) -> None:
    """The failure goes to all who waited; nothing loads again by itself."""
    stage.submit("one")
    stage.submit("two")
    [start] = stage.started()
    stage.say_hello(start.runner_id)
    stage.hear(start.runner_id, RunnerLoadFailed(failure=LoadFailed("bad tensor").as_failure()))
    assert [(each.job_id, each.failure.message) for each in stage.sent("gw", Refused)] == [
        ("one", "bad tensor"),
        ("two", "bad tensor"),
    ]
    stage.exit(start.runner_id, 1)
    stage.pass_time(30)
    assert len(stage.started()) == 1
    stage.submit("three")
    assert len(stage.started()) == 2


def test_runner_that_dies_while_loading_has_its_waiters_refused(stage: Stage) -> None:
    """With how it died."""
    stage.submit("job")
    [start] = stage.started()
    stage.say_hello(start.runner_id)
    stage.exit(start.runner_id, -11)
    [refused] = stage.sent("gw", Refused)
    assert refused.failure.code == "load_failed"
    assert "signal 11" in refused.failure.message
    assert len(stage.started()) == 1


def test_runner_that_dies_has_its_jobs_reported_lost_and_is_announced_gone(stage: Stage) -> None:
    """Granted jobs are lost; a waiting one has the model loaded again."""
    stage = Stage(num_parallel=1)
    stage.open()
    runner_id = stage.run_model()
    stage.submit("runs")
    stage.submit("waits")
    stage.exit(runner_id, -11)
    [lost] = stage.sent("gw", Lost)
    assert (lost.job_id, lost.failure.code) == ("runs", "runner_died")
    assert stage.sent("gw", RunnerGone) == [RunnerGone(runner_id=runner_id)]
    new = stage.started()[-1].runner_id
    assert new != runner_id
    stage.come_up(new)
    assert stage.sent("gw", Granted)[-1].job_id == "waits"


def test_runner_that_is_silent_is_killed_and_its_jobs_lost_only_after_its_exit(stage: Stage) -> None:
    """A process's exit is the authority, so that no request runs twice at once."""
    runner_id = stage.run_model()
    stage.submit("job")
    del stage.beats[runner_id]
    stage.pass_time(deadlines.SILENCE_S + 0.1)
    assert [kill.runner_id for kill in stage.sent("host", KillRunner)] == [runner_id]
    assert stage.sent("gw", Lost) == []
    stage.exit(runner_id, -9)
    assert [lost.job_id for lost in stage.sent("gw", Lost)] == ["job"]


def test_runner_that_is_silent_and_whose_exit_is_never_reported_is_given_up(stage: Stage) -> None:
    """The second deadline."""
    runner_id = stage.run_model()
    stage.submit("job")
    del stage.beats[runner_id]
    stage.pass_time(deadlines.SILENCE_S + deadlines.EXIT_S + 0.1)
    assert [lost.job_id for lost in stage.sent("gw", Lost)] == ["job"]
    assert runner_id not in stage.core.world.runners


def test_runner_that_loads_may_be_silent_for_longer(stage: Stage) -> None:
    """Its host may swap."""
    stage.submit("job")
    [start] = stage.started()
    stage.say_hello(start.runner_id)
    del stage.beats[start.runner_id]
    stage.pass_time(deadlines.LOADING_SILENCE_S - 1)
    assert stage.sent("host", KillRunner) == []
    stage.pass_time(1.1)
    assert len(stage.sent("host", KillRunner)) == 1
    assert [each.failure.code for each in stage.sent("gw", Refused)] == ["load_failed"]


def test_runner_from_before_is_adopted_with_its_jobs(stage: Stage) -> None:
    """A new scheduler knows nothing: the runner says what it is and holds."""
    stage.hear("old", hello(JobRef("job", 1, "gw")))
    assert stage.runner("old").life is RunnerLife.READY
    assert stage.runner("old").keep_alive_s == 77.0
    assert stage.core.world.jobs["job"].gateway_id == "gw"
    stage.submit("a")
    stage.submit("b")
    assert [start.job_id for start in stage.sent("old", Start)] == ["a"]
    stage.finish("old", "job")
    assert [start.job_id for start in stage.sent("old", Start)] == ["a", "b"]


def test_runner_from_before_whose_job_is_offered_again_goes_on_with_it(stage: Stage) -> None:
    """Its first words may be on their way: it is not begun anew, and the next attempt alone replaces it."""
    stage.hear("old", hello(JobRef("job", 1, "gw")))
    stage.submit("job", attempt=2)
    assert stage.sent("old", Start) == []
    assert [(each.job_id, each.attempt) for each in stage.sent("gw", Granted)] == [("job", 2)]
    stage.submit("job", attempt=3)
    assert [start.attempt for start in stage.sent("old", Start)] == [3]
    stage.finish("old", "job", attempt=3)
    assert not stage.runner("old").held


def test_runner_from_before_that_speaks_after_its_job_was_offered_again_goes_on_with_it() -> None:
    """The same in the other order, before the new scheduler has settled."""
    stage = Stage()
    stage.gateway()
    stage.launcher(runner_ids=("old",))
    stage.submit("job", attempt=2)
    assert stage.started() == []
    stage.hear("old", hello(JobRef("job", 1, "gw"), state=RunnerState.DRAINING))
    assert stage.sent("old", Start) == []
    assert [each.attempt for each in stage.sent("gw", Granted)] == [2]
    stage.finish("old", "job", attempt=1)
    assert stage.core.world.jobs == {}


def test_runner_that_holds_what_runs_elsewhere_is_told_to_cancel(stage: Stage) -> None:
    """The slot stays taken until it has done so."""
    runner_id = stage.run_model()
    stage.submit("job", attempt=2)
    stage.hear("old", hello(JobRef("job", 1, "gw")))
    assert stage.sent("old", Cancel) == [Cancel(job_id="job")]
    assert set(stage.runner("old").held) == {"job"}
    stage.finish("old", "job", attempt=1)
    assert not stage.runner("old").held
    assert set(stage.runner(runner_id).held) == {"job"}


def test_runner_that_holds_what_has_ended_is_told_to_cancel(stage: Stage) -> None:
    """Nobody waits for it."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.finish(runner_id, "job")
    stage.hear("old", hello(JobRef("job", 1, "gw")))
    assert stage.sent("old", Cancel) == [Cancel(job_id="job")]


def test_runner_whose_exit_came_before_its_hello_raises_no_ghost(stage: Stage) -> None:
    """The two come over different sockets."""
    stage.exit("old")
    stage.hear("old", hello())
    assert stage.core.world.runners == {}


def test_runner_that_keeps_a_cancelled_job_is_asked_what_it_holds(stage: Stage) -> None:
    """And what it does not list is over."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.cancel("job")
    stage.pass_time(deadlines.AUDIT_S + 0.1)
    assert len(stage.sent(runner_id, WhoAreYou)) == 1
    stage.say_hello(runner_id, state=RunnerState.READY)
    assert not stage.runner(runner_id).held
    assert stage.core.world.jobs == {}
    assert stage.sent("gw", Lost) == []


def test_runner_whose_beats_do_not_add_up_is_asked_and_what_it_lost_is_reported(stage: Stage) -> None:
    """A job that its runner does not know would otherwise never end."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.beats[runner_id] = RunnerBeat(state=RunnerState.READY, use=RunnerUse())
    stage.pass_time(3.1)
    assert len(stage.sent(runner_id, WhoAreYou)) == 1
    stage.submit("later")
    stage.say_hello(runner_id, state=RunnerState.READY)
    assert [lost.job_id for lost in stage.sent("gw", Lost)] == ["job"]
    assert set(stage.runner(runner_id).held) == {"later"}


def test_runner_that_lists_its_jobs_when_asked_keeps_them(stage: Stage) -> None:
    """An audit that finds nothing changes nothing."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.beats[runner_id] = RunnerBeat(state=RunnerState.READY, use=RunnerUse())
    stage.pass_time(3.1)
    stage.say_hello(runner_id, state=RunnerState.READY, jobs=(JobRef("job", 1, "gw"),))
    assert set(stage.runner(runner_id).held) == {"job"}
    assert stage.sent("gw", Lost) == []


def test_runner_that_drains_by_itself_gets_nothing_more(stage: Stage) -> None:
    """Somebody terminated it; its jobs go on, new ones wait for another runner."""
    runner_id = stage.run_model()
    stage.submit("runs")
    stage.hear(runner_id, RunnerBeat(state=RunnerState.DRAINING, use=RunnerUse(n_active=1)))
    stage.submit("waits")
    assert [start.job_id for start in stage.sent(runner_id, Start)] == ["runs"]
    stage.finish(runner_id, "runs")
    stage.exit(runner_id)
    assert len(stage.started()) == 2


def test_runner_that_a_start_does_not_reach_gives_the_job_back(stage: Stage) -> None:
    """The job waits in front, with its body, for the runner's exit or next sign of life."""
    runner_id = stage.run_model()
    stage.submit("job")
    send = next(each for each in stage.sends if isinstance(each.message, Start))
    stage.undelivered(send)
    stage.submit("behind")
    assert len(stage.sent(runner_id, Start)) == 1
    assert not stage.runner(runner_id).held
    stage.exit(runner_id, -9)
    assert stage.sent("gw", Lost) == []
    new = stage.started()[-1].runner_id
    stage.come_up(new)
    assert [(each.peer, each.payload) for each in stage.sends if isinstance(each.message, Start)][1:] == [
        (new, (b"job",)),
        (new, (b"behind",)),
    ]


def test_runner_that_a_start_does_not_reach_gets_it_again_when_it_speaks(stage: Stage) -> None:
    """Its connection was broken for a moment."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.undelivered(next(each for each in stage.sends if isinstance(each.message, Start)))
    stage.pass_time(1.1)
    assert [start.job_id for start in stage.sent(runner_id, Start)] == ["job", "job"]


def test_runner_beats_are_answered(stage: Stage) -> None:
    """With the epoch, so that it knows who listens."""
    runner_id = stage.run_model()
    assert stage.hear(runner_id, RunnerBeat(state=RunnerState.READY, use=RunnerUse())) == [Welcome(epoch="epoch")]


@pytest.mark.parametrize(
    "message",
    [
        RunnerReady(load_s=0.1, size_bytes=0, size_vram_bytes=0),
        RunnerLoadFailed(failure=LoadFailed("late").as_failure()),
    ],
)
def test_runner_that_repeats_itself_is_ignored(stage: Stage, message: RunnerReady | RunnerLoadFailed) -> None:
    """Late and doubled messages never become steps."""
    runner_id = stage.run_model()
    stage.hear(runner_id, message)
    assert stage.runner(runner_id).life is RunnerLife.READY


def test_runner_that_ends_a_job_twice_frees_one_slot(stage: Stage) -> None:
    """The second end is late."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.finish(runner_id, "job")
    assert stage.finish(runner_id, "job") == []
    assert stage.finish(runner_id, "never seen") == []


def test_runner_that_was_killed_and_speaks_is_not_revived(stage: Stage) -> None:
    """It is welcome to end."""
    runner_id = stage.run_model()
    del stage.beats[runner_id]
    stage.pass_time(deadlines.SILENCE_S + 0.1)
    stage.hear(runner_id, RunnerBeat(state=RunnerState.READY, use=RunnerUse()))
    stage.say_hello(runner_id, state=RunnerState.READY)
    assert stage.runner(runner_id).life is RunnerLife.DYING
    stage.submit("job")
    assert stage.sent(runner_id, Start) == []
    assert Send(runner_id, Welcome(epoch="epoch")) in stage.sends
