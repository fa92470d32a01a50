"""What the scheduler says to a runner."""

import msgspec

from actors.messages.scheduler_to_gateway import Welcome, WhoAreYou


class Start(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Run a job. Payload: the frames of its `Submit`. Duplicates (same job, same or lower attempt) are dropped."""

    epoch: str
    job_id: str
    attempt: int
    gateway_id: str


class Cancel(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Nobody waits for this job any more; unknown ids are remembered for a while."""

    job_id: str


class SetThreads(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Use this many cores from the next step on."""

    n_threads: int


class KeepAlive(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Remember the idle allowance for the next scheduler's sake; the runner itself does nothing with it."""

    keep_alive_s: float
    is_pinned: bool = False


class Drain(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Finish what is in flight, take nothing new, then exit."""


ToRunner = Welcome | WhoAreYou | Start | Cancel | SetThreads | KeepAlive | Drain
