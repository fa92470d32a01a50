"""Eviction: who may go, in which order, at what cost."""

import pytest
from msgspec.structs import replace

from actors.messages.gateway_to_scheduler import JobKind
from actors.scheduler.eviction import least_recently_used, reload_cost_s, reluctance, victims_in_order
from actors.scheduler.job import Job
from actors.scheduler.memory import Share
from actors.scheduler.record import Record
from actors.scheduler.runner import Runner
from actors.scheduler.states import RunnerLife
from actors.settings import FOREVER_S
from tests.actors.scheduler.stage import GIB, model, plan


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


def order(runners: list[Runner], *, may_be_busy: bool = False, **costs_s: float) -> str:
    """Write the ids of those that may go in a row."""
    victims = victims_in_order(runners, lambda each: costs_s.get(each.runner_id, 0.0), may_be_busy=may_be_busy)
    return "".join(each.runner_id for each in victims)


def used_record(*, n_uses: int = 1, weights_bytes: int = GIB, load_s: float = 1.0) -> Record:
    """Make the record of a model that was used so often at second 0."""
    record = Record(model(weights_bytes=weights_bytes))
    record.loaded(load_s)
    for _ in range(n_uses):
        record.used(0.0)
    return record


def test_victims_are_the_cheapest_first() -> None:
    """Whatever was used last."""
    assert order([runner("a"), runner("b", idle_since_s=2.0)], a=2.0, b=1.0) == "ba"


def test_victims_of_equal_cost_are_the_longest_idle_first() -> None:
    """Least recently used decides between equals."""
    assert order([runner("b", idle_since_s=2.0), runner("a", idle_since_s=1.0)]) == "ab"


def test_victims_without_an_end_to_their_allowance_come_last() -> None:
    """Someone wanted them to stay."""
    assert order([runner("a", keep_alive_s=FOREVER_S), runner("b")], b=9.0) == "ba"


def test_victims_skip_pinned_runners() -> None:
    """Never, busy or not."""
    pinned = runner("a")
    pinned.is_pinned = True
    assert order([pinned, runner("b")], may_be_busy=True) == "b"


def test_victims_skip_runner_with_request_in_flight() -> None:
    """Never in flight; a busy one only on demand, and behind all idle ones."""
    busy = runner("a")
    busy.hold(Job("job", 1, JobKind.GENERATE, "gw", model()))
    assert order([busy, runner("b")]) == "b"
    assert order([busy, runner("b")], may_be_busy=True) == "ba"


def test_victims_skip_what_is_not_ready() -> None:
    """Loading, draining and dying runners are no candidates."""
    others = set(RunnerLife) - {RunnerLife.READY}
    assert order([replace(runner("a"), life=life) for life in others], may_be_busy=True) == ""


def test_cost_grows_with_use_and_with_the_time_to_load() -> None:
    """What is wanted often, or takes long to load, is dear."""
    cheap = reload_cost_s(runner("a"), used_record(), 1, 10.0)
    assert reload_cost_s(runner("a"), used_record(n_uses=5), 1, 10.0) > cheap
    assert reload_cost_s(runner("a"), used_record(load_s=5.0), 1, 10.0) == pytest.approx(5 * cheap)


def test_cost_sinks_with_idleness_other_runners_and_a_near_end() -> None:
    """What nobody asks for any more, what has a sibling and what expires soon is cheap."""
    dear = reload_cost_s(runner("a", keep_alive_s=1e4), used_record(), 1, 10.0)
    assert reload_cost_s(runner("a", keep_alive_s=1e4), used_record(), 1, 900.0) < dear
    assert reload_cost_s(runner("a", keep_alive_s=1e4), used_record(), 2, 10.0) == pytest.approx(dear / 2)
    assert reload_cost_s(runner("a", keep_alive_s=11.0), used_record(), 1, 10.0) < dear / 50


def test_reluctance_ranks_what_may_go() -> None:
    """Idle ones go before those that were asked to stay, and these before busy ones."""
    busy = runner("a")
    busy.hold(Job("job", 1, JobKind.GENERATE, "gw", model()))
    assert [reluctance(each) for each in (runner("b"), runner("c", keep_alive_s=FOREVER_S), busy)] == [0, 1, 2]


def test_least_recently_used_costs_the_less_the_longer_idle() -> None:
    """The order that benchmarks compare with."""
    record = used_record()
    first, second = runner("a", idle_since_s=1.0), runner("b", idle_since_s=2.0)
    assert least_recently_used(first, record, 1, 5.0) < least_recently_used(second, record, 1, 5.0)
