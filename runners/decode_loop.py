"""The loop of the decode thread: take commands, hear the gateways, fill slots, step, publish; sleep with no work."""

import collections
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from actors.log import get_logger
from actors.messages.gateway_to_runner import CancelAtRunner
from actors.messages.launcher_to_runner import Assignment
from actors.messages.model import JobRef, RunnerUse
from actors.messages.runner_to_scheduler import Outcome
from runners.admission import Admission, AnsweredJob, Arrival, RejectedJob
from runners.commands import Cancel, Command, Ended, Event, Loaded, SetThreads, Stop
from runners.engines import Engines
from runners.jobs import PreparedJob
from runners.llama.binding import build, start_backend
from runners.llama.model import Model
from runners.outbox import Outbox
from runners.publisher import Publisher, Subscribed, Unsubscribed
from runners.saved import SavedSequences
from runners.threads import Threads
from runners.tier import Tier

log = get_logger(__name__)

_USE_EVERY_S = 0.5
_FIRST_TOKEN_S = 0.001
"""Between a job's first token and the next step, whose threads would otherwise hold all cores while gateway and client
are waiting for one: the token arrived after the second step often, 5 ms later."""
_BLOCKED_WAIT_S = 0.01
"""A gateway's queue is full: look again after this, as the socket tells only of input."""


class DecodeLoop:
    """Owns model and engines from load to close; every method runs on the decode thread."""

    def __init__(
        self,
        assignment: Assignment,
        publisher: Publisher,
        on_event: Callable[[Event], None],
        on_load: Callable[[float], None],
        n_coming: Callable[[], int],
    ) -> None:
        """Load the model and report it; `on_load` hears meanwhile which fraction is read.

        `n_coming` tells how many jobs are being prepared.

        Raises:
            LoadFailed: llama.cpp refused the model or the context; nothing is left open.
        """
        self._publisher = publisher
        self._on_event = on_event
        self._n_coming = n_coming
        started = time.monotonic()
        start_backend()
        self._admission = Admission()
        self._outbox = Outbox(publisher.send)
        with ThreadPoolExecutor(1, thread_name_prefix="kv-opener") as beside:
            opening = beside.submit(_tier_of, assignment, publisher.wake)
            self._model = Model(assignment.model.weights_path, assignment.plan, on_load)
        try:
            self._engines = Engines(
                self._model,
                assignment.plan,
                self._outbox,
                self._ended,
                is_embedding=assignment.model.is_embedding,
                tier=opening.result(),
                adapters=assignment.model.adapters,
                draft_path=assignment.model.draft_path,
            )
        except BaseException:
            self._model.close()
            raise
        self._threads = Threads(assignment.plan.n_threads, self._engines.set_threads)
        self.step_started = 0.0
        """Monotonic time at which the running step began; 0 between steps."""
        self.use = RunnerUse()
        """Figures for the heartbeat, at most `_USE_EVERY_S` old, and exact while the loop sleeps."""
        self._used_at = 0.0
        on_event(Loaded(self._model, time.monotonic() - started, self._engines.cache_tokens))

    @property
    def gathers(self) -> bool:
        """Whether a batch of embeddings waits for more; may be asked from another thread."""
        return self._engines.gathers_until is not None

    def turn(self, commands: collections.deque[Command]) -> bool:
        """Run the loop once; False when a `Stop` was met."""
        while commands:
            command = commands.popleft()
            if isinstance(command, Stop):
                self._outbox.flush()
                return False
            self._obey(command)
        now = time.monotonic()
        self._hear(now)
        if not self._admission.is_quiet:
            self._give_up(now)
            self._start_waiting()
        self.step_started = now
        worked = self._engines.step(self._n_coming())
        self.step_started = 0.0
        if worked:
            self._threads.stepped(time.monotonic() - now)
        # What gathers is told as one, with what the step gives: each message takes the cores from whoever brings more.
        is_flushed = (self.gathers and not worked) or self._outbox.flush()
        if not worked or now - self._used_at > _USE_EVERY_S:
            use = self._engines.use(n_waiting=len(self._admission))
            self._used_at, self.use = now, msgspec.structs.replace(use, n_threads=self._threads.now)
        if not worked and not commands:
            self._sleep(is_flushed=is_flushed)
        elif self._outbox.has_begun:
            self._publisher.wait(_FIRST_TOKEN_S)
        return True

    def close(self) -> None:
        """Free everything; idempotent."""
        self._engines.close()
        self._model.close()

    def _obey(self, command: Command) -> None:
        match command:
            case Cancel(job_id):
                self._cancel(job_id)
            case SetThreads(n_threads):
                self._threads.grant(n_threads)
            case Stop():
                pass  # met by `turn`
            case _:
                if not self._admission.arrive(command, now=time.monotonic()):
                    self._ended(command.ref, Outcome.CANCELLED)

    def _hear(self, now: float) -> None:
        for message in self._publisher.receive():
            match message:
                case Subscribed(gateway_id):
                    self._admission.subscribed(gateway_id)
                case Unsubscribed(gateway_id):
                    self._admission.unsubscribed(gateway_id, now=now)
                case CancelAtRunner():
                    self._cancel(message.job_id)

    def _give_up(self, now: float) -> None:
        for job in self._admission.overdue(now=now):
            log.warning("job %s: its gateway %s never subscribed", job.ref.job_id, job.ref.gateway_id)
            self._ended(job.ref, Outcome.FAILED)
        for gateway_id in self._admission.gone(now=now):
            for ref in self._engines.jobs_of(gateway_id):
                self._engines.cancel(ref.job_id)
            self._outbox.forget_gateway(gateway_id)

    def _start_waiting(self) -> None:
        for job in self._admission.startable():
            if self._start(job):
                self._admission.started(job)

    def _start(self, job: Arrival) -> bool:
        if isinstance(job, RejectedJob):
            self._outbox.accept(job.ref)
            self._outbox.end(job.ref, job.failure)
            self._ended(job.ref, Outcome.FAILED)
            return True
        if isinstance(job, AnsweredJob):
            self._outbox.accept(job.ref)
            self._outbox.end(job.ref, job.ending, text=job.text)
            self._ended(job.ref, Outcome.FINISHED)
            return True
        if not self._engines.admit(job):
            return False
        self._outbox.accept(job.ref, job.prompt_tail if isinstance(job, PreparedJob) else "")
        return True

    def _cancel(self, job_id: str) -> None:
        if self._engines.cancel(job_id):
            return
        waiting = self._admission.cancel(job_id)
        if waiting is not None:
            self._ended(waiting.ref, Outcome.CANCELLED)

    def _ended(self, ref: JobRef, outcome: Outcome) -> None:
        self._on_event(Ended(ref, outcome))

    def _sleep(self, *, is_flushed: bool) -> None:
        deadline = self._admission.next_deadline()
        now = time.monotonic()
        deadlines = [each for each in (deadline, self._engines.rest(now)) if each is not None]
        timeout_s = max(0.0, min(deadlines) - now) if deadlines else None
        if not is_flushed:
            timeout_s = _BLOCKED_WAIT_S
        self._publisher.wait(timeout_s)


def _tier_of(assignment: Assignment, on_read: Callable[[], None]) -> Tier:
    """Open the KV tier of the model as it is loaded: what must agree for saved cells to fit is its identity."""
    given, model, plan = assignment.kv_tier, assignment.model, assignment.plan
    if model.is_embedding:
        return Tier(memory_bytes=0)
    identity = f"{model.key} slots={plan.n_slots} llama.cpp={build()}"
    disk = SavedSequences(Path(given.folder), identity, limit_bytes=given.disk_bytes) if given.folder else None
    tier = Tier(memory_bytes=given.memory_bytes, disk=disk, on_read=on_read)
    tier.read_latest()
    return tier
