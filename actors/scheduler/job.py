"""A job as the scheduler knows it."""

import msgspec

from actors.messages.gateway_to_scheduler import JobKind
from actors.messages.model import LoadOptions, ModelSpec
from actors.scheduler.states import JobLife

ANY_OPTIONS = LoadOptions()
"""The options of a request that names none."""


class Job(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One attempt at one request, in one state: a step gives another job, which takes its place (`World.step_job`).

    The core's job table owns it from admission to its end. While it waits, it is the same object in its line.
    """

    job_id: str
    attempt: int
    kind: JobKind
    gateway_id: str
    model: ModelSpec
    options: LoadOptions = ANY_OPTIONS
    keep_alive_s: float | None = None
    queued_s: float = 0.0
    life: JobLife = JobLife.QUEUED
    runner_id: str = ""
    """Set iff the job is granted or cancelling."""
    is_adopted: bool = False
    """An earlier scheduler granted it, and its gateway has not offered it to this one."""
    tenant: str = ""
    priority: int = 0
    weight: float = 1.0
    """Share of the slots that its tenant gets beside others."""
    prefixes: tuple[int, ...] = ()
    granted_s: float = 0.0
    """When its runner was given it."""
    charged_s: float = 0.0
    """Slot time that its tenant was charged with on the grant."""
    is_suspect: bool = False
    """A runner has died under it."""
    was_returned: bool = False
    """It was granted once and came back, so it may stand over the queue's bound."""

    @property
    def is_easy(self) -> bool:
        """True iff whatever is loaded fits it; a prompt has the same tokens however the model was loaded."""
        return self.options == ANY_OPTIONS or self.kind is JobKind.INSPECT

    @property
    def needs_slot(self) -> bool:
        """True iff it takes a slot while it runs."""
        return self.kind is JobKind.GENERATE
