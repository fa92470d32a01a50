"""The line of one model: fairness, priorities, aging, suspects."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.messages.gateway_to_scheduler import JobKind
from actors.scheduler.job import Job
from actors.scheduler.line import AGING_S, HIGHEST_PRIORITY, LOWEST_PRIORITY, Line, effective_class
from tests.actors.scheduler.stage import model


def job(  # noqa: D417 - the rest are the job's own
    job_id: str,
    tenant: str = "",
    *,
    priority: int = 0,
    weight: float = 1.0,
    queued_s: float = 0.0,
    kind: JobKind = JobKind.GENERATE,
    is_suspect: bool = False,
) -> Job:
    """Make a waiting job.

    Args:
        job_id: its name.
        tenant: whose it is.
    """
    return Job(
        job_id=job_id,
        attempt=1,
        kind=kind,
        gateway_id="gw",
        model=model(),
        queued_s=queued_s,
        tenant=tenant,
        priority=priority,
        weight=weight,
        is_suspect=is_suspect,
    )


def line_of(*jobs: Job) -> Line:
    """Make a line."""
    line = Line()
    for each in jobs:
        line.add(each)
    return line


def served(line: Line, n_jobs: int, *, now_s: float = 0.0, takes_s: float = 1.0) -> list[str]:
    """Serve so many generations, one after the other, and name their tenants, or themselves where there is none."""
    names = []
    for _ in range(n_jobs):
        turn = line.next_generation(now_s)
        assert turn is not None
        line.remove(turn)
        line.charge(turn, usual_s=takes_s)
        names.append(turn.tenant or turn.job_id)
    return names


def test_line_of_one_tenant_is_first_come_first_served() -> None:
    """Age decides where nothing else does."""
    assert served(line_of(*(job(str(n), queued_s=n) for n in range(3))), 3) == ["0", "1", "2"]


def test_line_serves_tenants_in_turn_whoever_asked_more() -> None:
    """A hundred requests of one tenant do not keep another's single one waiting."""
    flood = [job(f"a{n}", "a", queued_s=n / 100) for n in range(50)]
    line = line_of(*flood, job("b0", "b", queued_s=1.0), job("b1", "b", queued_s=1.0))
    assert served(line, 5) == ["a", "b", "a", "b", "a"]


def test_line_shares_by_weight() -> None:
    """A tenant of weight three gets three turns for one."""
    jobs = [job(f"{name}{n}", name, weight=weight) for name, weight in (("a", 3.0), ("b", 1.0)) for n in range(20)]
    assert served(line_of(*jobs), 16).count("a") == 12


def test_line_charges_what_a_job_really_took() -> None:
    """Long answers count for more than short ones."""
    line = line_of(*(job(f"{name}{n}", name) for name in "ab" for n in range(9)))
    first = line.next_generation(0.0)
    assert first is not None
    line.remove(first)
    line.charge(first, usual_s=1.0)
    line.correct(replace(first, charged_s=1.0), took_s=4.0)
    assert served(line, 5) == ["b", "b", "b", "b", "a"]


def test_line_gives_no_credit_for_idleness() -> None:
    """Who comes anew stands beside the others, not in front of all."""
    line = line_of(*(job(f"a{n}", "a") for n in range(30)))
    served(line, 10)
    for number in range(10):
        line.add(job(f"b{number}", "b"))
    assert served(line, 6).count("b") == 3


def test_line_serves_higher_priorities_first() -> None:
    """Whoever came before."""
    line = line_of(job("low", priority=-1), job("usual"), job("high", priority=2, queued_s=9.0))
    assert served(line, 3, now_s=9.0) == ["high", "usual", "low"]


def test_line_raises_a_job_a_class_for_each_half_minute() -> None:
    """A job of the lowest priority that waited long goes before a fresh one of the highest."""
    steps = HIGHEST_PRIORITY - LOWEST_PRIORITY
    now_s = steps * AGING_S
    line = line_of(job("old", priority=LOWEST_PRIORITY), job("new", priority=HIGHEST_PRIORITY, queued_s=now_s))
    assert served(line, 1, now_s=now_s) == ["old"]


@settings(max_examples=300, deadline=None)
@given(st.floats(0, 1e6), st.integers(1, 9))
def test_line_looked_at_just_when_a_job_rises_sees_it_risen(queued_s: float, n_steps: int) -> None:
    """Whatever the sum of the two times is rounded to; else the line would look at it again and again."""
    only = job("only", priority=LOWEST_PRIORITY, queued_s=queued_s)
    now_s = queued_s + AGING_S * n_steps
    assert line_of(only).next_generation(now_s) is only
    assert effective_class(only, now_s) == LOWEST_PRIORITY + n_steps


def test_line_keeps_loads_and_suspects_apart() -> None:
    """Suspects come first for a load's sake, loads last; neither is a generation."""
    load, suspect = job("load", kind=JobKind.LOAD), job("suspect", is_suspect=True)
    line = line_of(load, job("usual"))
    assert line.first(0.0) is not load
    line.add(suspect)
    assert line.first(0.0) is suspect
    assert served(line, 1) == ["usual"]
    line.remove(suspect)
    assert line.first(0.0) is load
    line.remove(load)
    assert len(line) == 0
    assert line.first(0.0) is None


def test_line_foresees_the_order_in_which_it_serves() -> None:
    """Positions told to those who wait come true if nobody else comes."""
    jobs = [job(f"{name}{n}", name, priority=n % 2, weight=w) for name, w in (("a", 1.0), ("b", 2.0)) for n in range(4)]
    line = line_of(*jobs)
    foreseen = [each.job_id for each in line.in_order(0.0, usual_s=1.0)]
    found = []
    while (turn := line.next_generation(0.0)) is not None:
        line.remove(turn)
        line.charge(turn, usual_s=1.0)
        found.append(turn.job_id)
    assert sorted(foreseen) == sorted(found)
    assert foreseen[0] == found[0]
    assert {each[1:] for each in foreseen[:4]} == {"1", "3"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(LOWEST_PRIORITY, HIGHEST_PRIORITY), st.floats(0, 5)), max_size=30
    )
)
def test_line_serves_everybody_within_a_bound(arrivals: list[tuple[str, int, float]]) -> None:
    """Beside a flood of the highest priority, each job is served before the flood has had its turn often."""
    line = line_of(*(job(f"j{n}", t, priority=p, queued_s=q) for n, (t, p, q) in enumerate(arrivals)))
    now_s, n_flood, n_left = 5.0, 0, len(arrivals)
    while n_left:
        n_flood += 1
        assert n_flood < 2000
        line.add(job(f"f{n_flood}", "flood", priority=HIGHEST_PRIORITY, queued_s=now_s))
        (name,) = served(line, 1, now_s=now_s)
        n_left -= name != "flood"
        now_s += 1.0
    assert n_flood <= (HIGHEST_PRIORITY - LOWEST_PRIORITY) * AGING_S + 5 * len(arrivals) + 5


def test_line_forgets_accounts_beyond_its_bound() -> None:
    """Tenants that were here once do not stay for ever; those who wait, and those who owe most, are not forgotten."""
    line = Line()
    waiting = job("waiting", "waiting")
    line.charge(waiting, usual_s=0.0)
    line.add(waiting)
    for number in range(3000):
        line.charge(job(str(number), str(number)), usual_s=float(number))
    assert 1024 - 256 <= len(line._accounts) <= 1024 + 1
    assert {"waiting", "2999"} <= line._accounts.keys()


_moves = st.tuples(
    st.sampled_from(["add", "add", "serve", "serve", "leave", "return", "end", "wait"]), st.integers(0, 11)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_moves, max_size=80))
def test_line_of_any_history_serves_whom_a_look_at_all_finds(moves: list[tuple[str, int]]) -> None:
    """Its sorted lanes against the rule: highest class, then lowest account, then age; and a bounded size."""
    line, now_s, waiting, granted = Line(), 0.0, dict[str, Job](), list[Job]()
    for number, (move, pick) in enumerate(moves):
        if move == "add":
            new = job(f"j{number}", "abcd"[pick % 4], priority=pick - 6 if pick < 9 else 0, queued_s=now_s)
            waiting[new.job_id] = new
            line.add(new)
        elif move == "serve" and (turn := line.next_generation(now_s)) is not None:
            line.remove(waiting.pop(turn.job_id))
            line.charge(turn, usual_s=4.0)
            granted.append(replace(turn, charged_s=4.0))
        elif move == "leave" and waiting:
            line.remove(waiting.pop(list(waiting)[pick % len(waiting)]))
        elif move == "return" and granted:
            back = replace(granted.pop(pick % len(granted)), was_returned=True)
            waiting[back.job_id] = back
            line.add(back)
        elif move == "end" and granted:
            line.correct(granted.pop(pick % len(granted)), took_s=float(pick))
        elif move == "wait":
            now_s += pick * AGING_S / 4

        def place(each: Job) -> tuple[float, float, float]:
            return -effective_class(each, now_s), line._account(each.tenant), each.queued_s  # noqa: B023 - used at once

        turn = line.next_generation(now_s)
        assert (turn and place(turn)) == min(map(place, waiting.values()), default=None)
        assert line.n_generations == len(waiting)
        oldest = line.oldest()
        assert (oldest and oldest.queued_s) == min((each.queued_s for each in waiting.values()), default=None)
        assert {each.job_id for each in line} == waiting.keys()
        assert line._places == sorted(each.place for each in line._in_turn)
        assert len(line._places) == len({(each.tenant, each.priority) for each in waiting.values()})
        assert len(line._ages) <= 64 + 2 * len(waiting) + 1
