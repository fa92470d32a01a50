"""Thread budgets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.scheduler.threads import thread_budgets


@pytest.mark.parametrize(
    ("n_cores", "demands", "expected"),
    [
        (2, {}, {}),
        (2, {"a": None}, {"a": 2}),
        (2, {"a": None, "b": None}, {"a": 1, "b": 1}),
        (5, {"a": None, "b": None}, {"a": 3, "b": 2}),
        (2, {"a": None, "b": None, "c": None}, {"a": 1, "b": 1, "c": 1}),
        (8, {"a": 6, "b": None}, {"a": 6, "b": 2}),
        (2, {"a": 2, "b": None}, {"a": 1, "b": 1}),
        (2, {"a": 2, "b": 2}, {"a": 1, "b": 1}),
        (8, {"a": 2, "b": 8, "c": None}, {"a": 2, "b": 3, "c": 3}),
        (4, {"a": 64}, {"a": 4}),
    ],
)
def test_thread_budgets_divide_the_cores(
    n_cores: int, demands: dict[str, int | None], expected: dict[str, int]
) -> None:
    """Evenly, at least one each, named numbers first."""
    assert thread_budgets(n_cores, demands) == expected


_demands = st.dictionaries(st.text(min_size=1, max_size=3), st.none() | st.integers(1, 100), max_size=8)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 64), _demands)
def test_thread_budgets_of_any_demand_leave_no_runner_without_a_core(
    n_cores: int, demands: dict[str, int | None]
) -> None:
    """Everyone gets a thread and at most what was named, and no core is given twice while there are enough."""
    budgets = thread_budgets(n_cores, demands)
    assert set(budgets) == set(demands)
    assert all(1 <= n_threads <= n_cores for n_threads in budgets.values())
    assert all(budgets[runner_id] <= n for runner_id, n in demands.items() if n is not None)
    assert sum(budgets.values()) <= max(n_cores, len(demands))
    if None in demands.values():
        assert sum(budgets.values()) == max(n_cores, len(demands))
