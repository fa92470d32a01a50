"""A runner as the scheduler knows it."""

import msgspec

from actors.messages.model import LoadOptions, LoadPlan, ModelSpec, RunnerUse
from actors.scheduler.job import Job
from actors.scheduler.memory import Share
from actors.scheduler.placement import misfit
from actors.scheduler.states import RunnerLife, RunnerStep, next_runner_life
from actors.settings import FOREVER_S


class Runner(msgspec.Struct, eq=False, gc=False, kw_only=True):
    """One runner. Owned by the core's runner table from `StartRunner` or its hello to its exit.

    What heartbeats, grants and ends look at comes first, so that it lies in the same cache lines.
    """

    runner_id: str
    model: ModelSpec
    plan: LoadPlan
    life: RunnerLife = RunnerLife.STARTING
    held: dict[str, Job] = msgspec.field(default_factory=dict)
    """All that is there, as it was granted, including jobs that nobody waits for any more; changed by `hold` and
    `let_go`."""
    n_slotless: int = 0
    """How many of them take no slot."""
    n_slots: int = 0
    """The plan's."""
    listed_at: int | None = None
    """Where its fleet lists it among those with a free slot: the number of jobs that it holds; None where not."""
    is_reachable: bool = True
    """False from an undelivered message to the next sign of life: nothing is granted meanwhile."""
    last_heard_s: float
    use: RunnerUse = RunnerUse()
    n_short_beats: int = 0
    """Heartbeats in a row that reported fewer jobs than it should hold."""
    endpoint: str = ""
    launcher_id: str | None
    idle_since_s: float = 0.0
    """When the last job ended, or the load; means something while the runner is ready and holds nothing."""
    share: Share
    keep_alive_s: float
    since_s: float
    """When it entered the table."""
    named_threads: int | None = None
    """The number of threads that the last request with one named."""
    n_threads: int = 1
    """What the runner was told last."""
    ready_s: float | None = None
    is_reported: bool = False
    """True iff the host's facts show what this runner takes."""
    audited_s: float | None = None
    """When it was last asked to say what it holds; None without an open question."""
    drained_s: float = 0.0
    """When it was last told to drain."""
    size_vram_bytes: int = 0
    is_pinned: bool = False
    """It is neither evicted nor does it expire."""
    is_num_ctx_automatic: bool = False
    """Nobody asked for its context, so a smaller one does as well."""
    cause: str = ""
    """Why it was loaded, for people."""
    where: str = ""
    """Why it was loaded there, for people."""

    def __post_init__(self) -> None:
        """Have the number of slots at hand."""
        self.n_slots = self.plan.n_slots

    def step(self, step: RunnerStep) -> None:
        """Move on, or raise `Bug`."""
        self.life = next_runner_life(self.life, step)

    def hold(self, job: Job) -> None:
        """Note that it holds a job, in place of a lower attempt at it."""
        if job.job_id in self.held:
            self.let_go(job.job_id)
        self.held[job.job_id] = job
        self.n_slotless += not job.needs_slot

    def let_go(self, job_id: str) -> None:
        """Note that it holds a job no longer."""
        self.n_slotless -= not self.held.pop(job_id).needs_slot

    @property
    def is_loading(self) -> bool:
        """True iff it will be ready, if all goes well."""
        return self.life in (RunnerLife.STARTING, RunnerLife.LOADING)

    @property
    def is_leaving(self) -> bool:
        """True iff it takes no new work any more."""
        return self.life in (RunnerLife.DRAINING, RunnerLife.DYING)

    @property
    def is_idle(self) -> bool:
        """True iff it is ready and serves nothing: it may be evicted."""
        return self.life is RunnerLife.READY and not self.held

    @property
    def uses_cores(self) -> bool:
        """True iff it computes, so that it needs threads."""
        return self.is_loading or bool(self.held)

    @property
    def has_free_slot(self) -> bool:
        """True iff a job could be granted now."""
        return self.life is RunnerLife.READY and self.is_reachable and len(self.held) - self.n_slotless < self.n_slots

    @property
    def expires_s(self) -> float:
        """When its idle allowance ends, if nothing comes; FOREVER_S or more after `idle_since_s` means never."""
        return self.idle_since_s + self.keep_alive_s

    @property
    def is_permanent(self) -> bool:
        """True iff it never expires."""
        return self.is_pinned or self.keep_alive_s >= FOREVER_S

    @property
    def has_suspect(self) -> bool:
        """True iff a job is in flight here under which a runner has died before."""
        return any(job.is_suspect for job in self.held.values())

    def serves(self, model: ModelSpec, options: LoadOptions, *, has_devices: bool) -> bool:
        """Tell whether a request with these options can run here."""
        return misfit(self.plan, options, model, has_devices=has_devices) is None
