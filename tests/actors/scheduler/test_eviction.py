"""Eviction: who may go, in which order."""

from dataclasses import replace

from actors.scheduler.eviction import victims_in_order
from actors.scheduler.memory import Share
from actors.scheduler.runner import Holding, Runner
from actors.scheduler.states import RunnerLife
from actors.settings import FOREVER_S
from tests.actors.scheduler.stage import model, plan


def runner(runner_id: str, *, idle_since_s: float = 0.0, keep_alive_s: float = 300.0) -> Runner:
    """Make an idle runner."""
    return Runner(
        runner_id=runner_id,
        model=model(runner_id),
        plan=plan(),
        share=Share(),
        launcher_id="host",
        keep_alive_s=keep_alive_s,
        since_s=0.0,
        last_heard_s=0.0,
        life=RunnerLife.READY,
        idle_since_s=idle_since_s,
    )


def names(runners: list[Runner]) -> str:
    """Write the ids in a row."""
    return "".join(each.runner_id for each in runners)


def test_victims_are_the_least_recently_used_first() -> None:
    """Among equal allowances, what was idle longest goes first."""
    assert names(victims_in_order([runner("b", idle_since_s=2.0), runner("a", idle_since_s=1.0)])) == "ab"


def test_victims_with_less_allowance_left_go_before_others() -> None:
    """What would expire soon is cheap to lose."""
    assert names(victims_in_order([runner("a"), runner("b", idle_since_s=9.0, keep_alive_s=10.0)])) == "ba"


def test_victims_without_an_end_to_their_allowance_come_last() -> None:
    """Someone wanted them to stay."""
    forever = runner("a", keep_alive_s=FOREVER_S)
    assert names(victims_in_order([forever, runner("b", idle_since_s=9.0)])) == "ba"


def test_victims_skip_runner_with_request_in_flight() -> None:
    """Never in flight; a busy one only on demand, and behind all idle ones."""
    busy = runner("a")
    busy.held["job"] = Holding(1, 0.0)
    assert names(victims_in_order([busy, runner("b")])) == "b"
    assert names(victims_in_order([busy, runner("b")], may_be_busy=True)) == "ba"


def test_victims_skip_what_is_not_ready() -> None:
    """Loading, draining and dying runners are no candidates."""
    others = set(RunnerLife) - {RunnerLife.READY}
    assert victims_in_order([replace(runner("a"), life=life) for life in others], may_be_busy=True) == []
