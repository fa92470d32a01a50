"""The copy of the world that the event log begins with."""

import pickle

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from actors.scheduler.twin import twin
from tests.actors.scheduler.stage import Stage, device, host, model


def busy_stage() -> Stage:
    """Give a stage on which some work, some wait, some have ended."""
    stage = Stage(max_queue=40, num_parallel=2)
    stage.open(host(devices=(device(),)))
    runner_id = stage.run_model()
    for number in range(6):
        stage.submit(f"job-{number}", tenant=str(number % 3), prefixes=(number, 7), n_losses=number // 5)
    stage.submit("elsewhere", model("other", weights_bytes=1 << 33))
    stage.finish(runner_id, "job-0")
    return stage


@examples(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=20))
def test_twin_does_not_change_with_the_world(moves: list[int]) -> None:
    """It shares only what never changes."""
    stage = busy_stage()
    copied = twin(stage.core.world)
    before = pickle.dumps(copied)
    for number, move in enumerate(moves):
        if move <= 1:
            stage.submit(f"later-{number}", tenant=str(move), prefixes=(number,))
        elif move == 2:
            stage.submit(f"later-{number}", model("third"))
        elif move == 3:
            for runner in list(stage.core.world.runners.values()):
                for job_id in list(runner.held)[:1]:
                    stage.finish(runner.runner_id, job_id)
        else:
            stage.pass_time(30.0 * move)
    assert pickle.dumps(copied) == before


def test_twin_has_all_that_the_world_has_but_jobs_and_bodies() -> None:
    """A runner in two tables is one there, too."""
    world = busy_stage().core.world
    copied = twin(world)
    assert world.bodies
    assert not copied.bodies
    assert not copied.jobs
    assert [each.job_id for each in copied.queue] == [each.job_id for each in world.queue]
    assert all(world.jobs[each.job_id] is each for each in copied.queue)
    assert all(copied.runners[key] is not each for key, each in world.runners.items())
    assert all(copied.runners[key] is each for fleet in copied.fleets.values() for key, each in fleet.runners.items())
