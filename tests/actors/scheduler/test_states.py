"""The transition tables."""

import pytest

from actors.errors import Bug
from actors.scheduler.states import (
    JOB_LIFE,
    RUNNER_LIFE,
    JobLife,
    JobStep,
    RunnerLife,
    RunnerStep,
    next_job_life,
    next_runner_life,
    transition_diagram,
)


@pytest.mark.parametrize("state", RunnerLife)
@pytest.mark.parametrize("step", RunnerStep)
def test_runner_life_of_every_pair_moves_or_raises(state: RunnerLife, step: RunnerStep) -> None:
    """A listed pair leads on, an unlisted one is a bug."""
    if (state, step) in RUNNER_LIFE:
        assert next_runner_life(state, step) is RUNNER_LIFE[state, step]
    else:
        with pytest.raises(Bug, match="cannot take the step"):
            next_runner_life(state, step)


@pytest.mark.parametrize("state", JobLife)
@pytest.mark.parametrize("step", JobStep)
def test_job_life_of_every_pair_moves_or_raises(state: JobLife, step: JobStep) -> None:
    """A listed pair leads on, an unlisted one is a bug."""
    if (state, step) in JOB_LIFE:
        assert next_job_life(state, step) is JOB_LIFE[state, step]
    else:
        with pytest.raises(Bug, match="cannot take the step"):
            next_job_life(state, step)


def test_runner_life_from_every_state_can_end() -> None:
    """Whatever state a runner is in, its process may end."""
    for state in set(RunnerLife) - {RunnerLife.GONE}:
        assert RUNNER_LIFE[state, RunnerStep.EXIT] is RunnerLife.GONE


def test_runner_life_never_takes_work_again_after_draining() -> None:
    """No step leads from draining or dying back to ready."""
    reachable = {new for (old, _), new in RUNNER_LIFE.items() if old in (RunnerLife.DRAINING, RunnerLife.DYING)}
    assert reachable == {RunnerLife.DYING, RunnerLife.GONE}


def test_job_life_ends_have_no_way_out() -> None:
    """A job ends exactly once: no end has a further step."""
    ends = {JobLife.ENDED, JobLife.LOADED, JobLife.REFUSED, JobLife.CANCELLED, JobLife.LOST}
    assert not {old for old, _ in JOB_LIFE} & ends
    assert {new for new in JOB_LIFE.values() if all(old is not new for old, _ in JOB_LIFE)} == ends


def test_transition_diagram_draws_every_transition() -> None:
    """Both tables appear whole, as Mermaid."""
    diagram = transition_diagram()
    for (old, step), new in RUNNER_LIFE.items():
        assert f"    {old.value} --> {new.value}: {step.value}" in diagram
    for (job, job_step), after in JOB_LIFE.items():
        assert f"    {job.value} --> {after.value}: {job_step.value}" in diagram
    assert diagram.count("stateDiagram-v2") == 2
    assert "    gone --> [*]" in diagram
