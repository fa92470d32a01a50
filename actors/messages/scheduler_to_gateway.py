"""What the scheduler says to a gateway worker."""

import msgspec

from actors.errors import Failure
from actors.messages.overview import HostStatus, ModelStatus, RunnerStatus, WaiterStatus


class Welcome(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Answer to a hello and to every heartbeat of a known peer; `epoch` names this life of the scheduler."""

    epoch: str


class WhoAreYou(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Answer to anything from a peer that has not said hello to this scheduler: say it now."""

    epoch: str


class Granted(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """The job was sent to a runner; its deltas come from `endpoint` under the gateway's topic."""

    epoch: str
    job_id: str
    attempt: int
    runner_id: str
    endpoint: str


class Loaded(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """A `LOAD` job is done: the model is ready."""

    epoch: str
    job_id: str
    attempt: int


class Refused(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """The job was not, and will not be, started by this scheduler."""

    epoch: str
    job_id: str
    attempt: int
    failure: Failure


class Lost(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """The runner of a granted job is gone, and was fenced before this was sent."""

    epoch: str
    job_id: str
    attempt: int
    failure: Failure


class RunnerUp(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """A runner exists: connect and subscribe now, so that no first token waits for it."""

    runner_id: str
    endpoint: str


class RunnerGone(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """A runner has ended: disconnect from it."""

    runner_id: str


class RunnerList(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Answer to `ListRunners`: the ready and draining runners, longest remaining lifetime first."""

    request_id: str
    runners: tuple[RunnerStatus, ...]


class Overview(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Answer to `Survey`."""

    request_id: str
    hosts: tuple[HostStatus, ...] = ()
    runners: tuple[RunnerStatus, ...] = ()
    waiting: tuple[WaiterStatus, ...] = ()
    models: tuple[ModelStatus, ...] = ()
    notes: tuple[str, ...] = ()
    """The last lines told to the operator, oldest first."""


class Unloading(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Answer to `Unload`, `Pin` and `Retire`; `n_runners` counts the runners concerned."""

    request_id: str
    n_runners: int


class JobProgress(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Answer to `AskProgress`; both are None for a job that is not queued."""

    request_id: str
    n_ahead: int | None = None
    """Jobs for the same model that stand before it."""
    load_fraction: float | None = None
    """How far the load of its model is, None if none is going on."""


ToGateway = (
    Welcome
    | WhoAreYou
    | Granted
    | Loaded
    | Refused
    | Lost
    | RunnerUp
    | RunnerGone
    | RunnerList
    | Overview
    | Unloading
    | JobProgress
)
