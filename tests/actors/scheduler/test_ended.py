"""Which jobs have ended, and at which attempt."""

from hypothesis import given
from hypothesis import strategies as st

from actors.scheduler.ended import EndedJobs


@given(st.lists(st.tuples(st.integers(0, 9).map(str), st.integers(1, 4)), max_size=40), st.integers(1, 4))
def test_ended_jobs_are_known_by_their_attempt(ends: list[tuple[str, int]], kept: int) -> None:
    """The last ones are known by the highest attempt that may have ended; their number has a bound."""
    ended = EndedJobs(kept)
    highest: dict[str, int] = {}
    for job_id, attempt in ends:
        highest[job_id] = max(attempt, highest.get(job_id, 0))  # a lower one is refused before it can end
        ended.note(job_id, highest[job_id])
    for job_id, _ in ends[-kept:]:
        assert ended.attempt(job_id) == highest[job_id]
    assert len(ended) <= 2 * kept
    assert ended.attempt("unknown") == 0


def test_ended_jobs_are_forgotten() -> None:
    """What ended long before is as unknown as what never was."""
    ended = EndedJobs(2)
    for number in range(5):
        ended.note(str(number), 3)
    assert ended.attempt("0") == 0
