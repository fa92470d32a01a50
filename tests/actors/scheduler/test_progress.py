"""What a gateway hears of a job that waits."""

from actors.messages.gateway_to_scheduler import AskProgress
from actors.messages.model import RunnerUse
from actors.messages.runner_to_scheduler import RunnerBeat, RunnerState
from actors.messages.scheduler_to_gateway import JobProgress
from tests.actors.scheduler.stage import Stage


def told(stage: Stage, job_id: str) -> tuple[int | None, float | None]:
    """Ask what a job waits for."""
    [answer] = stage.hear("gw", AskProgress(request_id="ask", job_id=job_id))
    assert isinstance(answer, JobProgress)
    assert answer.request_id == "ask"
    return answer.n_ahead, answer.load_fraction


def test_progress_tells_the_load_of_the_model(stage: Stage) -> None:
    """As far as the runner's last heartbeat said."""
    stage.submit("first")
    [start] = stage.started()
    stage.say_hello(start.runner_id)
    assert told(stage, "first") == (0, 0.0)
    stage.hear(start.runner_id, RunnerBeat(state=RunnerState.LOADING, use=RunnerUse(load_fraction=0.5)))
    stage.submit("second")
    assert told(stage, "second") == (1, 0.5)


def test_progress_tells_the_place_in_the_queue() -> None:
    """Nothing of a job that runs, and the others in their order."""
    stage = Stage(num_parallel=1)
    stage.open()
    runner_id = stage.run_model()
    for job_id in ("runs", "next", "last"):
        stage.submit(job_id)
    assert [told(stage, job_id) for job_id in ("runs", "next", "last")] == [(None, None), (0, None), (1, None)]
    stage.finish(runner_id, "runs")
    assert [told(stage, job_id) for job_id in ("next", "last", "unknown")] == [(None, None), (0, None), (None, None)]
