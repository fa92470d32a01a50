"""Waiting for more calls: a lone one never waits, a batch of several for a pause, a full one not at all."""

from hypothesis import given
from hypothesis import strategies as st

from runners.gathering import LONGEST_PAUSE_S, MOST_S, PAUSE_PER_CALL_S, Gathering

TINY_S = 1e-6


def _has_room() -> bool:
    return False


def _is_full() -> bool:
    return True


def test_gathering_lets_a_lone_call_go_at_once() -> None:
    """One call since the last step is evaluated without a wait."""
    gathering = Gathering()
    gathering.arrived(1.0)
    assert not gathering.waits(1.0, _has_room)
    assert gathering.until_s is None


def test_gathering_waits_for_a_call_that_is_on_its_way() -> None:
    """A lone call waits, too, while another is being prepared."""
    gathering = Gathering()
    gathering.arrived(1.0)
    assert gathering.waits(1.0, _has_room, n_coming=1)
    assert not gathering.waits(1.0 + PAUSE_PER_CALL_S, _has_room, n_coming=1)


def test_gathering_of_several_ends_with_a_pause() -> None:
    """Each further call prolongs the wait, and how long a pause must be."""
    gathering = Gathering()
    gathering.arrived(1.0)
    gathering.arrived(1.0)
    assert gathering.waits(1.0, _has_room)
    gathering.arrived(1.001)
    assert gathering.until_s == 1.001 + 3 * PAUSE_PER_CALL_S
    assert gathering.waits(1.003, _has_room)
    assert not gathering.waits(1.005, _has_room)
    assert gathering.until_s is None


def test_gathering_ends_when_the_batch_is_full() -> None:
    """Nothing more fits, so there is nothing to wait for."""
    gathering = Gathering()
    gathering.arrived(1.0)
    gathering.arrived(1.0)
    assert gathering.waits(1.0, _has_room)
    assert not gathering.waits(1.0, _is_full)


@given(st.lists(st.floats(0.0, LONGEST_PAUSE_S), min_size=2, max_size=50))
def test_gathering_is_bounded_however_many_come(gaps_s: list[float]) -> None:
    """A stream of calls that never pauses is held up for `MOST_S`, and a step that begins counts anew."""
    gathering = Gathering()
    now_s = began_s = 1.0
    gathering.arrived(now_s)
    for gap_s in gaps_s:
        now_s += gap_s
        gathering.arrived(now_s)
        if gathering.until_s is None:
            began_s = now_s
        if gathering.waits(now_s, _has_room):
            assert now_s < began_s + MOST_S
            assert now_s <= (gathering.until_s or 0.0) <= began_s + MOST_S + TINY_S
        else:
            assert gathering.until_s is None
