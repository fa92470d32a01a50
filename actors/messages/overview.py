"""What a scheduler knows, for people: values inside `Overview`."""

import msgspec

from actors.messages.model import HostFacts, ModelDetails, RunnerUse


class RunnerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One runner, as `/api/ps`, `actorctl ps` and `actorctl top` show it."""

    runner_id: str
    name: str
    digest: str
    details: ModelDetails
    state: str
    size_bytes: int
    size_vram_bytes: int
    num_ctx: int
    n_slots: int
    n_threads: int
    n_queued: int
    """Jobs in the scheduler's queue that wait for this model."""
    expires_in_s: float
    """Seconds of idle allowance left; at or above `settings.FOREVER_S` never expires."""
    use: RunnerUse
    n_held: int = 0
    """Jobs that take a slot, as the scheduler has given them."""
    host: str = ""
    where: str = ""
    """Where on its host it lies, and why there."""
    cause: str = ""
    """Why it was loaded."""
    is_pinned: bool = False


class HostStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One host."""

    launcher_id: str
    facts: HostFacts
    n_runners: int
    is_draining: bool


class WaiterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One waiting job; a load has no place, since it needs no slot."""

    job_id: str
    name: str
    tenant: str
    priority: int
    waited_s: float
    place: int | None
    """0 is next for a slot of its model."""
    wait_s: float
    """Estimate of what is left."""


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one model."""

    name: str
    load_s: float
    service_s: float
    n_deaths: int
    """In a row."""
    suspended_for_s: float
    last_failure: str
