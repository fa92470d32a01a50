"""What a gateway worker says to the scheduler. Its socket identity is its gateway id."""

import enum

import msgspec

from actors.messages.model import LoadOptions, ModelSpec


class JobKind(enum.StrEnum):
    """What the gateway wants done with the model."""

    GENERATE = "generate"
    LOAD = "load"
    INSPECT = "inspect"
    """Ask about a prompt or tokens: any ready runner of the model answers, with or without a free slot."""


class GatewayHello(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """First message to a scheduler, and to every new one; the gateway then offers its unaccepted jobs again."""


class GatewayBeat(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Heartbeat."""

    n_jobs: int = 0


class Submit(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Ask for a job to be run. Payload: one `JobBody` frame, but none for `LOAD`.

    The gateway keeps the job until it has ended, and offers it again, with a higher attempt, when the scheduler is
    lost before a runner has accepted it, or a runner that had it dies. What that one had answered follows as a second
    frame, a `Resumption`.
    """

    job_id: str
    attempt: int
    kind: JobKind
    model: ModelSpec
    load: LoadOptions = LoadOptions()
    keep_alive_s: float | None = None
    """None leaves the runner's; at or above `settings.FOREVER_S` never expires; 0 unloads when the job ends."""
    n_losses: int = 0
    """How many runners have died under this job."""
    tenant: str = ""
    """On whose account it goes: an API key's mark, else the client's address."""
    priority: int = 0
    """-5 to 5; a step is worth half a minute of waiting."""
    prefixes: tuple[int, ...] = ()
    """Marks of the prompt's beginnings, shortest first: equal marks, equal beginnings."""


class CancelJob(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """The client has left; whatever state the job is in, nobody waits for it."""

    job_id: str


class Unload(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Unload a model as soon as its running jobs end. Answered by `Unloading`, also when it was not loaded."""

    request_id: str
    model_key: str


class Pin(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Keep a model's runners from being evicted and from expiring, or let them go again. Answered by `Unloading`."""

    request_id: str
    model_key: str
    is_pinned: bool = True


class Retire(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Drain a host or one runner: nothing more is placed there, what runs goes on. Answered by `Unloading`.

    A host takes runners again when it is told so (`is_draining` false); for an unknown target -1 runners are concerned.
    """

    request_id: str
    target: str
    """A launcher's or a runner's id."""
    is_draining: bool = True


class Survey(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Ask for everything that people may want to see. Answered by `Overview`."""

    request_id: str


class ListRunners(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Ask what is loaded. Answered by `RunnerList`."""

    request_id: str


class AskProgress(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Ask what a job of ours waits for. Answered by `JobProgress`."""

    request_id: str
    job_id: str


FromGateway = (
    GatewayHello | GatewayBeat | Submit | CancelJob | Unload | ListRunners | AskProgress | Pin | Retire | Survey
)
