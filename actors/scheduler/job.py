"""A job as the scheduler knows it."""

import msgspec

from actors.messages.gateway_to_scheduler import JobKind
from actors.messages.model import LoadOptions, ModelSpec
from actors.scheduler.states import JobLife, JobStep, next_job_life

ANY_OPTIONS = LoadOptions()
"""The options of a request that names none."""


class Job(msgspec.Struct, eq=False, gc=False):
    """One attempt at one request. Owned by the core's job table from admission to its end."""

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
    was_interrupted: bool = False
    """The host that loaded its model was lost once; a second loss is taken for the model's doing."""
    tenant: str = ""
    priority: int = 0
    weight: float = 1.0
    """Share of the slots that its tenant gets beside others."""
    prefixes: tuple[int, ...] = ()
    charged_s: float = 0.0
    """Slot time that its tenant was charged with on the grant."""
    rank: int = 0
    """The class in which it waits: its priority, raised by its age."""
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

    def step(self, step: JobStep) -> None:
        """Move on, or raise `Bug`."""
        self.life = next_job_life(self.life, step)
