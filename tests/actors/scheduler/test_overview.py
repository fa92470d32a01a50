"""What people see, and what they may order: pin, drain, survey."""

import pytest

from actors.messages.gateway_to_scheduler import JobKind, Pin, Retire, Survey
from actors.messages.runner_to_scheduler import RunnerHello, RunnerState
from actors.messages.scheduler_to_gateway import Overview, Unloading
from actors.messages.scheduler_to_runner import Drain, KeepAlive
from actors.scheduler.states import RunnerLife
from actors.settings import FOREVER_S
from tests.actors.scheduler.stage import GIB, Stage, model, plan

LARGE = {"weights_bytes": 9 * GIB}


def overview(stage: Stage) -> Overview:
    """Ask for everything."""
    [answer] = stage.hear("gw", Survey(request_id="q"))
    assert isinstance(answer, Overview)
    return answer


def pin(stage: Stage, name: str, *, is_pinned: bool = True) -> None:
    """Pin a model or let it go."""
    stage.hear("gw", Pin(request_id="q", model_key=model(name).key, is_pinned=is_pinned))


def test_survey_lists_hosts_runners_and_the_last_lines(stage: Stage) -> None:
    """With where a runner lies and why it was loaded."""
    runner_id = stage.run_model(model("a"))
    answer = overview(stage)
    assert [host.launcher_id for host in answer.hosts] == ["host"]
    [runner] = answer.runners
    assert (runner.runner_id, runner.state, runner.host) == (runner_id, "ready", "host")
    assert runner.where == "host: it has no devices"
    assert runner.cause == "a request of gw"
    assert any("loading a" in note for note in answer.notes)
    assert [known.name for known in answer.models] == ["a"]


def test_survey_tells_each_waiter_its_place_and_wait(stage: Stage) -> None:
    """In the order of their turns; who comes later waits longer."""
    stage.core.world.record(model("a")).served(8.0)
    runner_id = stage.run_model(model("a"), num_ctx=8192)
    n_slots = stage.runner(runner_id).plan.n_slots
    for number in range(n_slots):
        stage.submit(f"runs-{number}", model("a"))
    stage.submit("greedy-1", model("a"), tenant="greedy")
    stage.submit("greedy-2", model("a"), tenant="greedy")
    stage.submit("modest", model("a"), tenant="modest")
    stage.submit("loads", model("b", **LARGE), kind=JobKind.LOAD)
    waiting = {each.job_id: each for each in overview(stage).waiting}
    assert {name: each.place for name, each in waiting.items() if each.name == "a"} == {
        "greedy-1": 0,
        "modest": 1,
        "greedy-2": 2,
    }
    assert waiting["greedy-2"].wait_s == pytest.approx(3 * 8.0 / n_slots)
    assert "loads" not in waiting or waiting["loads"].place is None


def test_reload_says_which_option_asked_for_it(stage: Stage) -> None:
    """The reason stands beside the new runner."""
    old = stage.run_model(num_ctx=2048)
    stage.submit("job", num_ctx=4096)
    stage.exit(old)
    new = stage.started()[-1].runner_id
    assert stage.runner(new).cause == "reloaded: num_ctx 4096 is more than 2048"


def test_pinned_model_neither_expires_nor_is_evicted(stage: Stage) -> None:
    """However long it idles, and whoever waits."""
    runner_id = stage.run_model(model("a", **LARGE))
    pin(stage, "a")
    assert stage.sent(runner_id, KeepAlive)[-1].is_pinned
    stage.pass_time(1000)
    stage.submit("job", model("b", **LARGE))
    stage.pass_time(100)
    assert stage.runner(runner_id).life is RunnerLife.READY
    assert overview(stage).runners[0].expires_in_s >= FOREVER_S
    pin(stage, "a", is_pinned=False)
    stage.pass_time(1)
    assert runner_id not in stage.core.world.runners or stage.runner(runner_id).life is RunnerLife.DRAINING


def test_pin_is_remembered_by_the_runner_for_the_next_scheduler() -> None:
    """A runner that was pinned says so."""
    stage = Stage()
    stage.gateway()
    stage.launcher(runner_ids=("r1",))
    hello = RunnerHello(state=RunnerState.READY, model=model(), plan=plan(), endpoint="ipc:///r1", is_pinned=True)
    stage.hear("r1", hello)
    assert stage.runner("r1").is_permanent
    assert stage.core.world.pinned == {model().key: None}


def test_host_that_is_drained_by_hand_takes_nothing_until_it_may_again(stage: Stage) -> None:
    """Its runners end when they are done."""
    runner_id = stage.run_model(model("a"))
    stage.submit("runs", model("a"))
    assert stage.hear("gw", Retire(request_id="q", target="host"))[-1] == Unloading(request_id="q", n_runners=1)
    assert stage.sent(runner_id, Drain)
    assert stage.runner(runner_id).held
    stage.launcher("other")
    stage.submit("job", model("b"))
    assert stage.runner(stage.started()[-1].runner_id).launcher_id == "other"
    stage.hear("gw", Retire(request_id="q", target="host", is_draining=False))
    assert not stage.core.world.launchers["host"].is_draining


def test_runner_is_drained_by_hand_and_unknown_targets_are_told(stage: Stage) -> None:
    """One runner, or nobody."""
    runner_id = stage.run_model()
    assert stage.hear("gw", Retire(request_id="q", target=runner_id))[-1] == Unloading(request_id="q", n_runners=1)
    assert stage.sent(runner_id, Drain)
    assert stage.hear("gw", Retire(request_id="q", target="x"))[-1] == Unloading(request_id="q", n_runners=-1)
