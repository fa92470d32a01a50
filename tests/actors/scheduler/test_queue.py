"""The queue: its bound, its lines."""

from msgspec.structs import replace

from actors.messages.gateway_to_scheduler import JobKind
from actors.scheduler.job import Job
from actors.scheduler.queue import WaitQueue
from tests.actors.scheduler.stage import model


def job(job_id: str, name: str = "a", *, kind: JobKind = JobKind.GENERATE) -> Job:
    """Make a waiting job."""
    return Job(job_id=job_id, attempt=1, kind=kind, gateway_id="gw", model=model(name))


def test_queue_counts_over_all_models_for_its_bound() -> None:
    """The bound is one for all models."""
    queue = WaitQueue(2)
    was_full = []
    for name in "ab":
        was_full.append(queue.is_full)
        queue.add(job(name, name))
    assert [*was_full, queue.is_full] == [False, False, True]
    assert len(queue) == 2
    assert queue.waited_for() == [model("a").key, model("b").key]


def test_queue_puts_a_returned_job_in_front() -> None:
    """A job that could not be delivered does not lose its place."""
    queue = WaitQueue(1)
    queue.add(job("1"))
    returned = replace(job("2"), was_returned=True)
    queue.add(returned)
    assert queue.line(returned.model.key).next_generation(0.0) is returned
    assert sorted(each.job_id for each in queue) == ["1", "2"]


def test_queue_forgets_models_that_nobody_waits_for() -> None:
    """An empty line is none."""
    queue = WaitQueue(1)
    only = job("1")
    queue.add(only)
    queue.remove(only)
    assert queue.waited_for() == []
    assert queue.n_waiting_for(only.model.key) == 0
    assert queue.waiting_for(only.model.key) == []


def test_queue_keeps_a_bounded_number_of_empty_lines() -> None:
    """Accounts of models that nobody waits for are forgotten at last."""
    queue = WaitQueue(1)
    for number in range(2000):
        queue.line_to_charge(str(number))
    assert len(queue._lines) == 1024
