"""Launchers: what they list, their silence, their drain."""

from actors.messages.launcher_to_scheduler import LauncherBeat, LauncherDraining, LauncherHello
from actors.messages.model import RunnerUse
from actors.messages.runner_to_scheduler import RunnerBeat, RunnerHello, RunnerState
from actors.messages.scheduler_to_gateway import Granted, Lost, Refused
from actors.messages.scheduler_to_launcher import KillRunner, StartRunner
from actors.messages.scheduler_to_runner import Drain, Start
from actors.scheduler import deadlines
from tests.actors.scheduler.stage import GIB, Stage, host, model, plan


def test_launcher_that_listed_runners_is_waited_for_before_anything_is_decided() -> None:
    """A new scheduler neither grants nor loads before they spoke, or a grace has passed."""
    stage = Stage()
    stage.gateway()
    stage.submit("job")
    stage.launcher(runner_ids=("old",))
    assert stage.started() == []
    stage.pass_time(deadlines.SETTLE_AFTER_LAUNCHER_S - 0.1)
    assert stage.started() == []
    stage.pass_time(0.2)
    assert len(stage.started()) == 1


def test_launcher_whose_listed_runner_has_ended_is_not_waited_for() -> None:
    """An exit settles as well as a hello does."""
    stage = Stage()
    stage.gateway()
    stage.submit("job")
    stage.launcher(runner_ids=("old",))
    stage.exit("old", -9)
    assert len(stage.started()) == 1


def test_launcher_with_no_runners_settles_at_once() -> None:
    """A cold start waits for nothing."""
    stage = Stage()
    stage.gateway()
    stage.submit("job")
    stage.launcher()
    assert len(stage.started()) == 1


def test_launcher_that_lists_an_adopted_runner_becomes_its_launcher() -> None:
    """In whichever order the two hellos come, orders about the runner go to it."""
    stage = Stage()
    hello = RunnerHello(state=RunnerState.READY, model=model(), plan=plan(), endpoint="ipc:///old")
    stage.hear("before", hello)
    stage.launcher(runner_ids=("before", "after"))
    stage.hear("after", hello)
    assert [stage.runner(each).launcher_id for each in ("before", "after")] == ["host", "host"]


def test_launcher_that_is_silent_gets_no_runners(stage: Stage) -> None:
    """A load waits until it is back, or another one comes."""
    del stage.beats["host"]
    stage.pass_time(deadlines.SILENCE_S + 0.1)
    stage.submit("job")
    assert stage.started() == []
    stage.launcher("other")
    assert [send.peer for send in stage.sends if isinstance(send.message, StartRunner)] == ["other"]


def test_launcher_that_is_silent_leaves_speaking_runners_alone(stage: Stage) -> None:
    """They may still stream."""
    runner_id = stage.run_model()
    del stage.beats["host"]
    stage.pass_time(60)
    stage.submit("job")
    assert [start.job_id for start in stage.sent(runner_id, Start)] == ["job"]


def test_launcher_that_died_takes_its_silent_runners_along(stage: Stage) -> None:
    """Runners die with their launcher, and nobody is left to report it: no second deadline is waited for."""
    runner_id = stage.run_model()
    stage.submit("job")
    del stage.beats["host"], stage.beats[runner_id]
    stage.pass_time(deadlines.SILENCE_S + 1.1)
    assert [lost.job_id for lost in stage.sent("gw", Lost)] == ["job"]
    assert stage.core.world.runners == {}


def test_launcher_that_died_during_a_load_has_it_done_again_once(stage: Stage) -> None:
    """A model whose load takes its host down twice is refused."""
    for number in range(2):
        stage.submit("job")
        assert len(stage.started()) == number + 1
        runner_id = stage.started()[-1].runner_id
        stage.say_hello(runner_id)
        stage.beats = {"gw": stage.beats["gw"]}
        stage.pass_time(deadlines.LOADING_SILENCE_S + 1.1)
        stage.launcher(f"host{number}")
    assert [refused.failure.code for refused in stage.sent("gw", Refused)] == ["load_failed"]
    assert len(stage.started()) == 2


def test_launcher_that_says_hello_again_without_a_runner_has_lost_it(stage: Stage) -> None:
    """Its list is the authority, except about what it was asked for just now."""
    runner_id = stage.run_model()
    stage.submit("job")
    stage.pass_time(5)
    stage.submit("other", model("other"))
    stage.hear("host", LauncherHello(host=host()))
    assert [lost.job_id for lost in stage.sent("gw", Lost)] == ["job"]
    assert runner_id not in stage.core.world.runners
    assert stage.started()[-1].runner_id in stage.core.world.runners


def test_launcher_with_a_successor_is_dead_with_its_runners() -> None:
    """Nobody waits for its silence: one run folder has one launcher."""
    stage = Stage()
    stage.gateway()
    stage.hear("first", LauncherHello(host=host(), place="here"))
    stage.beats["first"] = LauncherBeat(host=host())
    runner_id = stage.run_model()
    stage.submit("job")
    stage.hear("second", LauncherHello(host=host(), place="here"))
    assert [lost.failure.code for lost in stage.sent("gw", Lost)] == ["runner_died"]
    assert runner_id not in stage.core.world.runners
    assert list(stage.core.world.launchers) == ["second"]


def test_launcher_that_drains_gets_no_runners_and_its_runners_drain(stage: Stage) -> None:
    """Running jobs end; who waits is told that the server goes down."""
    runner_id = stage.run_model()
    stage.submit("runs")
    stage.submit("loads", model("other"))
    stage.hear("host", LauncherDraining())
    assert len(stage.sent(runner_id, Drain)) == 1
    assert len(stage.sent("host", KillRunner)) == 1
    stage.exit(stage.started()[-1].runner_id, -9)
    stage.submit("late", model("third"))
    assert [(each.job_id, each.failure.code) for each in stage.sent("gw", Refused)] == [
        ("loads", "draining"),
        ("late", "draining"),
    ]
    assert stage.sent("gw", Lost) == []


def test_launcher_that_cannot_be_reached_is_left_out_until_it_speaks(stage: Stage) -> None:
    """The runner that it was not told of is forgotten, and nobody is refused for it."""
    stage.submit("job")
    stage.undelivered(next(each for each in stage.sends if isinstance(each.message, StartRunner)))
    assert stage.core.world.runners == {}
    assert len(stage.started()) == 1
    stage.hear("host", LauncherBeat(host=host()))
    assert len(stage.started()) == 2
    assert stage.sent("gw", Refused) == []


def test_launcher_beat_with_more_memory_lets_a_waiting_model_load(stage: Stage) -> None:
    """Free memory is watched, not only asked for."""
    busy = stage.run_model()
    stage.submit("runs")
    stage.hear("host", LauncherBeat(host=host(available_bytes=GIB)))
    stage.submit("waits", model("large", weights_bytes=4 * GIB))
    assert len(stage.started()) == 1
    stage.hear("host", LauncherBeat(host=host()))
    assert stage.started()[-1].model.name == "large"
    assert stage.sent("gw", Granted)[-1].runner_id == busy
    stage.hear(busy, RunnerBeat(state=RunnerState.READY, use=RunnerUse(n_active=1)))


def test_runner_given_up_with_its_silent_launcher_is_killed_when_that_comes_back(stage: Stage) -> None:
    """Its memory was given to others: found by random lives, where a host got more than it has."""
    stage.submit("job")
    runner_id = stage.started()[-1].runner_id
    del stage.beats["host"]
    stage.pass_time(deadlines.SILENCE_S + 1)
    assert runner_id not in stage.core.world.runners
    stage.launcher(runner_ids=(runner_id,))
    assert [each.runner_id for each in stage.sent("host", KillRunner)] == [runner_id]
    started = stage.started()[0]
    ghost = RunnerHello(state=RunnerState.LOADING, model=started.model, plan=started.plan, endpoint="ipc:///r")
    stage.hear(runner_id, ghost)
    assert runner_id not in stage.core.world.runners
