"""The lives of a runner and of a job, as tables.

Theory of operation. `RUNNER_LIFE` and `JOB_LIFE` map (state, step) to the next state; a pair that is not listed is a
bug of ours and raises, so whoever takes a step has checked first that it is open. What peers may do wrong is sorted
out before: a late or doubled message never becomes a step. ARCHITECTURE.md shows `transition_diagram()`, and a test
keeps it fresh.

Outside the tables: a job that a runner holds but that nobody waits for any more (cancelled, or replaced by a later
attempt elsewhere) keeps its slot until the runner reports its end; see `Runner.held`.
"""

import enum
from collections.abc import Mapping

from actors.errors import Bug


class RunnerLife(enum.StrEnum):
    """Where a runner is, as the scheduler sees it."""

    STARTING = "starting"
    """Its launcher was asked; it has not spoken yet."""
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    """Takes nothing new; what is in flight goes on."""
    DYING = "dying"
    """Killed, or ending by itself after a failed load; its jobs are not given away before its exit is known."""
    GONE = "gone"


class RunnerStep(enum.StrEnum):
    """What moves a runner."""

    HELLO = "hello"
    LOADED = "loaded"
    DRAIN = "drain"
    FAIL = "load failed"
    KILL = "kill"
    EXIT = "exit"


class JobLife(enum.StrEnum):
    """Where a job is; the last five are ends."""

    QUEUED = "queued"
    GRANTED = "granted"
    CANCELLING = "cancelling"
    """Nobody waits for it; its runner has not yet freed the slot."""
    ENDED = "ended"
    LOADED = "loaded"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    LOST = "lost"


class JobStep(enum.StrEnum):
    """What moves a job."""

    GRANT = "grant"
    RETURN = "undelivered"
    LOAD = "runner ready"
    REFUSE = "refuse"
    CANCEL = "cancel"
    END = "job ended"
    LOSE = "runner gone"


RUNNER_LIFE: Mapping[tuple[RunnerLife, RunnerStep], RunnerLife] = {
    (RunnerLife.STARTING, RunnerStep.HELLO): RunnerLife.LOADING,
    (RunnerLife.STARTING, RunnerStep.KILL): RunnerLife.DYING,
    (RunnerLife.STARTING, RunnerStep.EXIT): RunnerLife.GONE,
    (RunnerLife.LOADING, RunnerStep.LOADED): RunnerLife.READY,
    (RunnerLife.LOADING, RunnerStep.DRAIN): RunnerLife.DRAINING,
    (RunnerLife.LOADING, RunnerStep.FAIL): RunnerLife.DYING,
    (RunnerLife.LOADING, RunnerStep.KILL): RunnerLife.DYING,
    (RunnerLife.LOADING, RunnerStep.EXIT): RunnerLife.GONE,
    (RunnerLife.READY, RunnerStep.DRAIN): RunnerLife.DRAINING,
    (RunnerLife.READY, RunnerStep.KILL): RunnerLife.DYING,
    (RunnerLife.READY, RunnerStep.EXIT): RunnerLife.GONE,
    (RunnerLife.DRAINING, RunnerStep.KILL): RunnerLife.DYING,
    (RunnerLife.DRAINING, RunnerStep.EXIT): RunnerLife.GONE,
    (RunnerLife.DYING, RunnerStep.EXIT): RunnerLife.GONE,
}

JOB_LIFE: Mapping[tuple[JobLife, JobStep], JobLife] = {
    (JobLife.QUEUED, JobStep.GRANT): JobLife.GRANTED,
    (JobLife.QUEUED, JobStep.LOAD): JobLife.LOADED,
    (JobLife.QUEUED, JobStep.REFUSE): JobLife.REFUSED,
    (JobLife.QUEUED, JobStep.CANCEL): JobLife.CANCELLED,
    (JobLife.GRANTED, JobStep.RETURN): JobLife.QUEUED,
    (JobLife.GRANTED, JobStep.CANCEL): JobLife.CANCELLING,
    (JobLife.GRANTED, JobStep.END): JobLife.ENDED,
    (JobLife.GRANTED, JobStep.LOSE): JobLife.LOST,
    (JobLife.CANCELLING, JobStep.END): JobLife.CANCELLED,
    (JobLife.CANCELLING, JobStep.LOSE): JobLife.CANCELLED,
}


def next_runner_life(state: RunnerLife, step: RunnerStep) -> RunnerLife:
    """Look up where a step leads.

    Raises:
        Bug: the pair is not listed.
    """
    try:
        return RUNNER_LIFE[state, step]
    except KeyError:
        raise Bug(f"a runner that is {state.value} cannot take the step '{step.value}'") from None


def next_job_life(state: JobLife, step: JobStep) -> JobLife:
    """Look up where a step leads.

    Raises:
        Bug: the pair is not listed.
    """
    try:
        return JOB_LIFE[state, step]
    except KeyError:
        raise Bug(f"a job that is {state.value} cannot take the step '{step.value}'") from None


def transition_diagram() -> str:
    """Draw both tables as Mermaid state diagrams, the runner's first, with a blank line between them."""
    runner = [(old.value, step.value, new.value) for (old, step), new in RUNNER_LIFE.items()]
    job = [(old.value, step.value, new.value) for (old, step), new in JOB_LIFE.items()]
    return "\n\n".join(_diagram(name, table) for name, table in (("runner", runner), ("job", job)))


def _diagram(name: str, table: list[tuple[str, str, str]]) -> str:
    ends = dict.fromkeys(new for _, _, new in table if all(new != old for old, _, _ in table))
    lines = ["```mermaid", "stateDiagram-v2", f"    %% life of a {name}", f"    [*] --> {table[0][0]}"]
    lines += [f"    {old} --> {new}: {step}" for old, step, new in table]
    lines += [f"    {end} --> [*]" for end in ends]
    return "\n".join([*lines, "```"])
