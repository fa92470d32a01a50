"""A gateway worker: the parts that its routes work with."""

from collections.abc import Callable
from dataclasses import dataclass

from actors.settings import Settings
from gateway.jobs import Jobs
from gateway.models import Models


@dataclass(frozen=True, slots=True)
class Worker:
    """What every route may use; nothing in the gateway is global."""

    settings: Settings
    jobs: Jobs
    models: Models
    is_draining: Callable[[], bool] = lambda: False
