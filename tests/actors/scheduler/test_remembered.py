"""What is remembered of the past, and for how long."""

from hypothesis import given
from hypothesis import strategies as st

from actors.scheduler.remembered import Remembered


@given(st.lists(st.tuples(st.integers(0, 9), st.integers())), st.integers(1, 4))
def test_remembered_has_the_last_notes_and_not_many_more(notes: list[tuple[int, int]], kept: int) -> None:
    """What was noted lately is there as noted last; the number of keys has a bound."""
    remembered: Remembered[int, int] = Remembered(kept)
    for key, value in notes:
        remembered.note(key, value)
    for key, value in dict(notes[-kept:]).items():
        assert remembered.get(key) == value
        assert key in remembered
    assert len(remembered) <= 2 * kept


def test_remembered_forgets() -> None:
    """What was noted long before is gone."""
    remembered: Remembered[int, int] = Remembered(2)
    for key in range(5):
        remembered.note(key, key)
    assert 0 not in remembered
    assert remembered.get(0) is None
