"""The queue."""

from actors.messages.gateway_to_scheduler import JobKind
from actors.scheduler.job import Job
from actors.scheduler.queue import WaitQueue
from tests.actors.scheduler.stage import model


def job(job_id: str, name: str = "a", *, kind: JobKind = JobKind.GENERATE, queued_s: float = 0.0) -> Job:
    """Make a waiting job."""
    return Job(job_id=job_id, attempt=1, kind=kind, gateway_id="gw", model=model(name), queued_s=queued_s)


def test_queue_serves_first_come_first_per_model() -> None:
    """The next generation of a model is the one that waited longest."""
    queue = WaitQueue(10)
    first, second = job("1"), job("2")
    queue.add(first)
    queue.add(second)
    assert queue.next_generation(first.model.key) is first
    queue.remove(first)
    assert queue.next_generation(first.model.key) is second


def test_queue_counts_over_all_models_for_its_bound() -> None:
    """The bound is one for all models."""
    queue = WaitQueue(2)
    was_full = []
    for name in "ab":
        was_full.append(queue.is_full)
        queue.add(job(name, name))
    assert [*was_full, queue.is_full] == [False, False, True]
    assert len(queue) == 2


def test_queue_lists_models_by_their_longest_waiting_job() -> None:
    """Age decides, not the order in which models were first seen."""
    queue = WaitQueue(10)
    old = job("1", "a", queued_s=1.0)
    queue.add(old)
    queue.add(job("2", "b", queued_s=2.0))
    queue.add(job("3", "a", queued_s=3.0))
    queue.remove(old)
    assert queue.by_age() == [model("b").key, model("a").key]


def test_queue_keeps_loads_apart_from_generations() -> None:
    """A load needs no slot, so it is not behind generations; the head is the older of both."""
    queue = WaitQueue(10)
    generation, load = job("1", queued_s=1.0), job("2", kind=JobKind.LOAD, queued_s=2.0)
    queue.add(generation)
    queue.add(load)
    key = generation.model.key
    assert queue.loads_for(key) == [load]
    assert queue.head(key) is generation
    queue.remove(generation)
    assert queue.next_generation(key) is None
    assert queue.head(key) is load


def test_queue_puts_a_returned_job_in_front() -> None:
    """A job that could not be delivered does not lose its place."""
    queue = WaitQueue(1)
    queue.add(job("1"))
    returned = job("2")
    queue.put_back(returned)
    assert queue.next_generation(returned.model.key) is returned
    assert [each.job_id for each in queue] == ["2", "1"]


def test_queue_forgets_models_that_nobody_waits_for() -> None:
    """An empty line leaves nothing behind."""
    queue = WaitQueue(1)
    only = job("1")
    queue.add(only)
    queue.remove(only)
    assert queue.by_age() == []
    assert queue.n_waiting_for(only.model.key) == 0
    assert queue.waiting_for(only.model.key) == []
    assert queue.head(only.model.key) is None
