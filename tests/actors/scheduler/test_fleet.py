"""Which of several runners of a model a job is given to."""

from tests.actors.scheduler.stage import Stage


def test_among_equals_the_one_that_was_busy_last_gets_the_job() -> None:
    """So the others stay idle, and expire or make room."""
    stage = Stage(num_parallel=2, max_loaded_models=9)
    stage.gateway()
    stage.launcher("first")
    one = stage.run_model()
    stage.launcher("second")
    for number in range(60):
        stage.submit(f"job-{number}")
    [_, order] = stage.started()
    other = order.runner_id
    stage.come_up(other)
    for _ in range(40):
        for runner_id in (one, other):
            for job_id in list(stage.runner(runner_id).held):
                stage.finish(runner_id, job_id)
    assert not stage.runner(one).held
    assert not stage.runner(other).held
    for number in range(3):
        stage.submit(f"later-{number}")
        assert list(stage.runner(other).held) == [f"later-{number}"]
        stage.finish(other, f"later-{number}")
    assert not stage.runner(one).held
