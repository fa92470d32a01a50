"""One job: what the gateway asked for, how far it got, and the stream of its answer.

States, and what moves between them:

    OFFERED ──Granted──▶ GRANTED ──Accepted──▶ ACCEPTED ──Finished/Failed──▶ ENDED
       ▲ ▲                  │                      │                           ▲
       │ └─new scheduler/Lost┘                     │                           │
       └─────────── Lost, the first time ──────────┴─ second Lost ─────────────┤
                                            Refused, deadline or release ──────┘

A job is offered again, with a higher attempt, until a runner has accepted it; then its attempt is fixed. An older
attempt may still win that race after a scheduler's death, since its runner was not fenced then; after `Lost` it was,
and `oldest_attempt` shuts the older ones out.

A job whose runner dies is offered once more, with the tokens that arrived so far, and the next runner goes on there. A
second death under it ends it: it may well be the cause.
"""

import enum
from dataclasses import dataclass, field

from actors.messages.gateway_to_scheduler import JobKind, Submit
from actors.messages.model import LoadOptions, ModelSpec
from actors.messages.runner_to_gateway import Prefill
from gateway.caller import Caller
from gateway.streams import JobStream


class JobState(enum.Enum):
    """How far a job got."""

    OFFERED = "offered"
    GRANTED = "granted"
    ACCEPTED = "accepted"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a job is to do: everything of its `Submit` but the attempt."""

    kind: JobKind
    model: ModelSpec
    load: LoadOptions = field(default_factory=LoadOptions)
    keep_alive_s: float | None = None
    body: bytes | None = None
    """The encoded `JobBody`; None for `LOAD`."""
    caller: Caller = field(default_factory=Caller)
    prefixes: tuple[int, ...] = ()
    """Marks of the prompt's beginnings."""

    def submit(self, job_id: str, attempt: int, *, n_losses: int = 0) -> Submit:
        """Give the message that offers this job."""
        return Submit(
            job_id=job_id,
            attempt=attempt,
            kind=self.kind,
            model=self.model,
            load=self.load,
            keep_alive_s=self.keep_alive_s,
            n_losses=n_losses,
            tenant=self.caller.tenant,
            priority=self.caller.priority,
            prefixes=self.prefixes,
        )


@dataclass(slots=True, eq=False)
class Job:
    """A job that somebody waits for. Owned by `Jobs`, which alone changes it; others read `stream` and the times."""

    job_id: str
    request: JobRequest | None
    """None once the job has ended, or was accepted while too many bytes are retained: then it cannot be resumed."""
    offered_at: float
    """trio's clock, as every time here; the last offer's time."""
    stream: JobStream = field(default_factory=JobStream)
    state: JobState = JobState.OFFERED
    attempt: int = 1
    """The last attempt offered."""
    running_attempt: int = 0
    """The attempt that a runner accepted; lower than `attempt` when an older offer won."""
    oldest_attempt: int = 1
    """Attempts below it are void: their runner is dead."""
    runner_id: str = ""
    """The runner it was granted on, or that accepted it."""
    granted_at: float | None = None
    n_losses: int = 0
    """Runners that died under it."""
    tokens: list[int] = field(default_factory=list)
    """The answer so far, for the runner that may have to go on with it."""
    prompt_tail: str = ""
    """The end of the rendered prompt, once a runner has accepted the job."""
    prefill: Prefill | None = None
    """How far its prompt is, of a job that asked for it."""

    @property
    def body_bytes(self) -> int:
        """How much the job retains for a further offer."""
        return len(self.request.body) if self.request is not None and self.request.body is not None else 0
