"""Alarms: ring once, not later than asked, and stay few."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.scheduler.alarms import AlarmKind, Alarms


def test_alarms_without_any_are_never_due() -> None:
    """An empty heap asks for no tick."""
    alarms = Alarms()
    assert alarms.next_due_s() == math.inf
    assert alarms.due(1e9) == []


def test_alarms_ring_in_order_and_once() -> None:
    """What is due comes out earliest first and is gone then."""
    alarms = Alarms()
    alarms.look_at(AlarmKind.IDLE, "b", 2.0)
    alarms.look_at(AlarmKind.QUEUE, "a", 1.0)
    alarms.look_at(AlarmKind.LOAD, "c", 9.0)
    assert alarms.due(5.0) == [(AlarmKind.QUEUE, "a"), (AlarmKind.IDLE, "b")]
    assert alarms.due(5.0) == []
    assert alarms.next_due_s() == 9.0


def test_alarms_set_earlier_replace_and_later_are_ignored() -> None:
    """The earlier of two looks wins: it sets the later one itself if it is still needed."""
    alarms = Alarms()
    alarms.look_at(AlarmKind.IDLE, "a", 5.0)
    alarms.look_at(AlarmKind.IDLE, "a", 7.0)
    assert alarms.next_due_s() == 5.0
    alarms.look_at(AlarmKind.IDLE, "a", 3.0)
    assert alarms.due(10.0) == [(AlarmKind.IDLE, "a")]


def test_alarms_of_a_forgotten_subject_stay_silent() -> None:
    """Nothing rings for what is gone."""
    alarms = Alarms()
    alarms.look_at(AlarmKind.IDLE, "a", 5.0)
    alarms.look_at(AlarmKind.LOAD, "a", 6.0)
    alarms.forget("a")
    assert alarms.next_due_s() == math.inf
    assert len(alarms) == 0


_sets = st.lists(st.tuples(st.sampled_from(AlarmKind), st.sampled_from("abc"), st.floats(0, 100)), max_size=300)


@settings(max_examples=50, deadline=None)
@given(_sets)
def test_alarms_of_any_history_ring_the_earliest_time_of_each(sets: list[tuple[AlarmKind, str, float]]) -> None:
    """Against a plain dictionary of minima; stale entries do not pile up."""
    alarms = Alarms()
    expected: dict[tuple[AlarmKind, str], float] = {}
    for kind, subject, due_s in sets:
        alarms.look_at(kind, subject, due_s)
        expected[kind, subject] = min(due_s, expected.get((kind, subject), math.inf))
    assert alarms.next_due_s() == min(expected.values(), default=math.inf)
    assert len(alarms._heap) <= 64 + 2 * len(expected)
    rung = alarms.due(200.0)
    assert [expected[each] for each in rung] == sorted(expected.values())
