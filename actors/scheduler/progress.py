"""What a waiting job waits for: how many stand before it, and how far the load of its model is.

The answer is a look at the world, which it changes in nothing. Cost: O(n log n) for n that wait for the same model.
"""

from actors.messages.gateway_to_scheduler import AskProgress
from actors.messages.scheduler_to_gateway import JobProgress
from actors.scheduler.foresight import turns
from actors.scheduler.job import Job
from actors.scheduler.states import JobLife
from actors.scheduler.world import World


def tell(world: World, sender: str, message: AskProgress, _payload: tuple[bytes, ...]) -> None:
    """Answer a gateway that asks for one of its jobs; a job that is not queued any more waits for nothing here."""
    job = world.jobs.get(message.job_id)
    n_ahead, load_fraction = None, None
    if job is not None and job.life is JobLife.QUEUED:
        n_ahead, load_fraction = _n_ahead(world, job), _load_fraction(world, job)
    answer = JobProgress(request_id=message.request_id, n_ahead=n_ahead, load_fraction=load_fraction)
    world.send(sender, answer)


def _n_ahead(world: World, job: Job) -> int:
    if not job.needs_slot:
        return 0
    return next((place for place, (each, _) in enumerate(turns(world, job.model.key)) if each is job), 0)


def _load_fraction(world: World, job: Job) -> float | None:
    loading = [runner.use.load_fraction for runner in world.serving(job.model.key) if runner.is_loading]
    return max(loading, default=None)
