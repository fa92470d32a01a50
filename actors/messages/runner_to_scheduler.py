"""What a runner says to the scheduler. Its socket identity is its runner id."""

import enum

import msgspec

from actors.errors import Failure
from actors.messages.model import JobRef, LoadPlan, ModelSpec, RunnerUse


class RunnerState(enum.StrEnum):
    """Life of a runner process after its assignment."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class Outcome(enum.StrEnum):
    """How a job left its runner."""

    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunnerHello(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """First message to a scheduler, and to every new one: what this runner is and holds."""

    state: RunnerState
    model: ModelSpec
    plan: LoadPlan
    endpoint: str
    jobs: tuple[JobRef, ...] = ()
    size_bytes: int = 0
    size_vram_bytes: int = 0
    keep_alive_s: float | None = None
    """The idle allowance last told by `KeepAlive`, so that a new scheduler knows it; None if never told."""
    is_pinned: bool = False
    """The same."""


class RunnerReady(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """The model is loaded; `size_bytes` and `size_vram_bytes` are what it was measured to use."""

    load_s: float
    size_bytes: int
    size_vram_bytes: int


class RunnerLoadFailed(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """The load failed; the process ends after this."""

    failure: Failure


class RunnerBeat(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Heartbeat."""

    state: RunnerState
    use: RunnerUse


class JobEnded(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """A job has left its slot, which is free from now on."""

    job_id: str
    attempt: int
    outcome: Outcome


FromRunner = RunnerHello | RunnerReady | RunnerLoadFailed | RunnerBeat | JobEnded
