"""Models that are loaded at the start, `LLAMACTOR_PRELOAD`: one after the other, as a request would load them."""

from collections.abc import Sequence

from actors.errors import LlamactorError
from actors.log import get_logger
from actors.messages.gateway_to_scheduler import JobKind
from gateway.job import JobRequest
from gateway.jobs import Jobs
from gateway.models import Models
from gateway.options import request_options

log = get_logger(__name__)


async def preload(names: Sequence[str], models: Models, jobs: Jobs) -> None:
    """Have each model loaded; one that cannot be is reported and left out."""
    for name in names:
        try:
            model = await models.resolve(name)
            options = request_options(model.installed.parameters, None).clamped(model.spec.n_ctx_train)
            with jobs.submit(JobRequest(kind=JobKind.LOAD, model=model.spec, load=options.load)) as job:
                await job.stream.receive()
            log.info("%s is loaded, as LLAMACTOR_PRELOAD asks", name)
        except LlamactorError as error:
            log.error("LLAMACTOR_PRELOAD: cannot load %s: %s", name, error.message)
