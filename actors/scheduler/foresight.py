"""How long who will wait: an estimate from what is known of a model. Pure.

With all slots taken, one becomes free every `usual_s / n_slots` seconds. Where nothing is loaded yet, the load comes
first, as long as the last ones took.
"""

import math

from actors.scheduler.job import Job
from actors.scheduler.world import World

_LEAST_RETRY_S, _MOST_RETRY_S = 1.0, 600.0
_SLOTS_WITHOUT_RUNNER = 4
"""A guess for a model of which nothing is loaded."""


def wait_s(world: World, model_key: str, n_ahead: int) -> float:
    """Estimate the wait of a job before which so many others stand."""
    record, fleet = world.records.get(model_key), world.fleet(model_key)
    if record is None:
        return 0.0
    n_slots = fleet.n_slots or _SLOTS_WITHOUT_RUNNER
    if fleet.n_ready:
        return (n_ahead + 1) * record.usual_s / n_slots
    backoff_s = max(0.0, record.opens_s - world.now_s) if math.isfinite(record.opens_s) else 0.0
    return backoff_s + record.usual_load_s + n_ahead // n_slots * record.usual_s


def retry_after_s(world: World, model_key: str) -> float:
    """Give the time after which a refused request has a chance."""
    n_ahead = world.queue.n_waiting_for(model_key)
    return min(_MOST_RETRY_S, max(_LEAST_RETRY_S, wait_s(world, model_key, n_ahead)))


def turns(world: World, model_key: str) -> list[tuple[Job, float]]:
    """List who waits for a slot of a model in the order of their turns, each with its estimated wait in seconds."""
    record = world.records.get(model_key)
    jobs = world.queue.line(model_key).in_order(world.now_s, usual_s=record.usual_s if record else 0.0)
    return [(job, wait_s(world, model_key, place)) for place, job in enumerate(jobs)]
