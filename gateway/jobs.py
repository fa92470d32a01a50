"""Requests as messages: the gateway's side of the job protocol.

Theory of operation. `submit` offers a job to the scheduler and gives it to the caller, who reads its stream inside a
`with` block; leaving the block releases the job, which cancels it when it has not ended. What arrives from the
scheduler and from the runners is matched to jobs by id and attempt; the transitions stand in `gateway.job`.

Nothing waits without a deadline (`Deadlines`): a job that no scheduler takes fails; one that was granted but not
accepted counts as lost; an accepted one ends with its runner, whose death the scheduler reports, or which a new
scheduler does not announce. The queue's own deadline is the scheduler's.

A job whose runner dies is offered once more; what had arrived of its answer goes along, and the next runner goes on
there, so its reader notices a pause and nothing else.

Bounds: retained bodies hold at most `MAX_RETAINED_BYTES` together; beyond that a request is refused with `QueueFull`,
and above half of it an accepted job's body is forgotten.
Ordering: all methods run on trio's thread and never block.
"""

import contextlib
import secrets
from collections.abc import Iterator

import trio

from actors.codec import Codec, encode_body
from actors.errors import (
    Backlogged,
    Draining,
    LlamactorError,
    PoisonedJob,
    QueueFull,
    RunnerDied,
    SchedulerUnavailable,
    from_failure,
)
from actors.link import SchedulerLink
from actors.log import get_logger
from actors.messages.gateway_to_scheduler import CancelJob, GatewayBeat, GatewayHello
from actors.messages.job import Resumption
from actors.messages.runner_to_gateway import Accepted, Delta, Failed, Finished, Part, Prefill, Step, Vectors
from actors.messages.scheduler_to_gateway import (
    Granted,
    JobProgress,
    Loaded,
    Lost,
    Overview,
    Refused,
    RunnerGone,
    RunnerList,
    RunnerUp,
    ToGateway,
    Unloading,
)
from gateway.deadlines import Deadlines
from gateway.job import Job, JobRequest, JobState
from gateway.questions import Questions
from gateway.subscriptions import Subscriptions

MAX_RETAINED_BYTES = 256 << 20
_SETTLE_S = 0.02
_codec: Codec[ToGateway] = Codec(ToGateway)

log = get_logger(__name__)


class Jobs:
    """Owns the jobs of one gateway worker, its link to the scheduler and its subscriptions."""

    def __init__(self, scheduler_endpoint: str, *, deadlines: Deadlines | None = None) -> None:
        self._deadlines = deadlines or Deadlines()
        self.gateway_id = f"gw-{secrets.token_hex(8)}"
        self._jobs: dict[str, Job] = {}
        self._retained_bytes = 0
        self._last_connected = -float("inf")
        self._must_offer_again = False
        self._reannounce_by: float | None = None  # set while a new scheduler has yet to announce the runners
        self._announced: set[str] = set()
        self._nursery: trio.Nursery | None = None
        self._subscriptions = Subscriptions(self.gateway_id, on_step=self._on_step, on_broken=self._on_broken)
        self._link: SchedulerLink[ToGateway] = SchedulerLink(
            endpoint=scheduler_endpoint,
            identity=self.gateway_id,
            codec=_codec,
            hello=self._hello,
            beat=lambda: GatewayBeat(n_jobs=len(self._jobs)),
            on_message=lambda message, _payload: self._on_message(message),
            on_new_scheduler=self._on_new_scheduler,
            is_idle=lambda: not self._jobs,
        )
        self._has_deadlines = trio.Event()
        self._said_hello = trio.Event()
        self.questions = Questions(self._link.send)

    @property
    def n_jobs(self) -> int:
        """How many jobs somebody waits for."""
        return len(self._jobs)

    @property
    def is_connected(self) -> bool:
        """True iff a scheduler was heard lately."""
        return self._link.is_connected

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the protocol until cancelled; jobs may be submitted once it has started."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self._subscriptions.run)
                nursery.start_soon(self._link.run)
                nursery.start_soon(self._watch_deadlines)
                await self._said_hello.wait()  # a job offered before would make the scheduler ask who we are
                task_status.started()
        finally:
            self._nursery = None

    def end_all(self) -> None:
        """End every job with an error, because the worker is going down."""
        for job in list(self._jobs.values()):
            if job.state is not JobState.ENDED:
                self._give_up(job, Draining())

    @contextlib.contextmanager
    def submit(self, request: JobRequest) -> Iterator[Job]:
        """Offer a job; leaving the block releases it, and cancels it unless it has ended.

        Raises:
            QueueFull: too many bytes of requests wait already.
        """
        job = Job(job_id=secrets.token_hex(8), request=request, offered_at=trio.current_time())
        if self._retained_bytes + job.body_bytes > MAX_RETAINED_BYTES:
            raise QueueFull(len(self._jobs))
        self._jobs[job.job_id] = job
        self._retained_bytes += job.body_bytes
        self._link.stir()
        self._has_deadlines.set()
        try:
            self._offer(job)
            yield job
        finally:
            self._release(job)

    def _offer(self, job: Job) -> None:
        if job.request is None:
            return
        job.state, job.offered_at, job.granted_at = JobState.OFFERED, trio.current_time(), None
        payload = [] if job.request.body is None else [job.request.body]
        if job.tokens:
            payload.append(encode_body(Resumption(tokens=tuple(job.tokens))))
        try:
            self._link.send(job.request.submit(job.job_id, job.attempt, n_losses=job.n_losses), *payload)
        except Backlogged:
            self._fail(job, SchedulerUnavailable(self._deadlines.scheduler_s))

    def _release(self, job: Job) -> None:
        if job.state is not JobState.ENDED:
            self._cancel(job)
        job.state = JobState.ENDED
        self._forget_body(job)
        del self._jobs[job.job_id]

    def _cancel(self, job: Job) -> None:
        """Tell all who may hold the job; the scheduler too, for it may be queued, or that runner's socket stuck."""
        if self._nursery is None or self._nursery.cancel_scope.cancel_called:
            return  # the sockets are closing, which tells them, too
        if job.runner_id:
            self._subscriptions.cancel(job.runner_id, job.job_id)
        with contextlib.suppress(Backlogged):
            self._link.send(CancelJob(job_id=job.job_id))

    def _forget_body(self, job: Job) -> None:
        self._retained_bytes -= job.body_bytes
        job.request = None

    def _end(self, job: Job, end: Finished | Loaded) -> None:
        job.state = JobState.ENDED
        job.stream.finish(end)
        self._forget_body(job)
        if 0 < job.running_attempt < job.attempt:
            self._cancel(job)  # its later offer is still with the scheduler

    def _fail(self, job: Job, error: LlamactorError) -> None:
        job.state = JobState.ENDED
        job.stream.fail(error)
        self._forget_body(job)

    def _give_up(self, job: Job, error: LlamactorError) -> None:
        self._cancel(job)
        self._fail(job, error)

    # From the runners.

    def _on_step(self, runner_id: str, step: Step) -> None:
        for part in step.parts:
            job = self._jobs.get(part.job_id)
            if job is None or job.state is JobState.ENDED:
                if isinstance(part, Accepted):  # offered twice, or released before the grant: nobody waits for it
                    self._subscriptions.cancel(runner_id, part.job_id)
            elif job.state is JobState.ACCEPTED:
                if part.attempt == job.running_attempt and runner_id == job.runner_id:
                    self._on_part(job, part)
                elif isinstance(part, Accepted):
                    self._on_second_acceptance(job, runner_id, part)
            elif part.attempt >= job.oldest_attempt:
                self._on_first_part(job, runner_id, part)

    def _on_first_part(self, job: Job, runner_id: str, part: Part) -> None:
        job.running_attempt, job.runner_id, job.state = part.attempt, runner_id, JobState.ACCEPTED
        job.granted_at = job.granted_at or trio.current_time()
        if self._retained_bytes > MAX_RETAINED_BYTES // 2:
            self._forget_body(job)
        if isinstance(part, Accepted):
            job.prompt_tail = part.prompt_tail
        else:  # its `Accepted` was lost, so its text may be, too: the stream finds out
            self._on_part(job, part)

    def _on_second_acceptance(self, job: Job, runner_id: str, part: Accepted) -> None:
        """Settle a job that was accepted twice, around a scheduler's death: one runner drops its older attempt."""
        if runner_id != job.runner_id:
            self._subscriptions.cancel(runner_id, part.job_id)
        elif part.attempt > job.running_attempt and job.stream.is_untouched:
            job.running_attempt = part.attempt
        elif part.attempt > job.running_attempt:
            self._give_up(job, RunnerDied("it began the answer anew"))

    def _on_part(self, job: Job, part: Part) -> None:
        match part:
            case Delta():
                job.tokens += part.tokens
                job.stream.put(part.seq, part.text, part.logprobs)
            case Vectors():
                job.stream.put_values(part.seq, part.values)
            case Finished():
                job.stream.put(part.seq, part.text, part.logprobs)
                self._end(job, part)
            case Failed() if part.failure.code == Draining.code and not job.tokens and job.request is not None:
                self._offer_elsewhere(job)  # granted in the moment in which the runner was told to drain
            case Failed():
                self._fail(job, from_failure(part.failure))
            case Prefill():
                job.prefill = part
            case Accepted():
                return
        if job.stream.has_ended and job.state is not JobState.ENDED:  # a gap, or nobody reads
            self._cancel(job)
            job.state = JobState.ENDED

    def _on_broken(self, runner_id: str, error: LlamactorError) -> None:
        log.error("cannot read what runner %s sends: %s", runner_id, error)
        for job in self._jobs_on(runner_id):
            self._give_up(job, error)

    def _jobs_on(self, runner_id: str) -> list[Job]:
        return [job for job in self._jobs.values() if job.state is JobState.ACCEPTED and job.runner_id == runner_id]

    # From the scheduler.

    def _hello(self) -> GatewayHello:
        if self._said_hello.is_set():  # the scheduler has forgotten us, and with us the jobs it had from us
            self._must_offer_again = True
            self._start(self._offer_again)
        self._said_hello.set()
        return GatewayHello()

    def _on_new_scheduler(self) -> None:
        self._announced.clear()
        self._reannounce_by = trio.current_time() + self._deadlines.reannounce_s
        self._has_deadlines.set()
        self._must_offer_again = True
        self._start(self._offer_again)

    async def _offer_again(self) -> None:
        # A new scheduler asks who we are once for every message that waited for its predecessor: one offer for all.
        await trio.sleep(_SETTLE_S)
        if not self._must_offer_again:
            return
        self._must_offer_again = False
        for job in self._jobs.values():
            if job.state in {JobState.OFFERED, JobState.GRANTED}:
                job.attempt += 1
                self._offer(job)
        self.questions.ask_again()

    def _on_message(self, message: ToGateway) -> None:
        match message:
            case RunnerUp():
                self._announced.add(message.runner_id)
                self._subscriptions.open(message.runner_id, message.endpoint)
            case RunnerGone():
                self._announced.discard(message.runner_id)
                self._start(self._bury_runner, message.runner_id)
            case RunnerList() | Unloading() | JobProgress() | Overview():
                self.questions.answer(message)
            case Granted() | Loaded() | Refused() | Lost():
                job = self._jobs.get(message.job_id)
                if job is not None:
                    self._on_verdict(job, message)
            case _:
                log.error("unexpected message from the scheduler: %r", message)

    def _on_verdict(self, job: Job, message: Granted | Loaded | Refused | Lost) -> None:
        is_waiting = job.state in {JobState.OFFERED, JobState.GRANTED} and message.attempt == job.attempt
        match message:
            case Granted() if is_waiting:
                self._subscriptions.open(message.runner_id, message.endpoint)
                job.state, job.runner_id, job.granted_at = JobState.GRANTED, message.runner_id, trio.current_time()
            case Loaded() if is_waiting:
                self._end(job, message)
            case Refused() if is_waiting:
                self._fail(job, from_failure(message.failure))
            case Lost() if is_waiting or (job.state is JobState.ACCEPTED and message.attempt == job.running_attempt):
                self._start(self._lose_after_last_words, job, message.attempt, from_failure(message.failure))

    def _lose(self, job: Job, error: LlamactorError) -> None:
        """Offer a job again whose runner is gone, with what it had answered; the second loss is final."""
        job.n_losses += 1
        if job.request is None:
            self._give_up(job, error)
        elif job.n_losses > 1:
            self._give_up(job, PoisonedJob(job.job_id, error.message))
        else:
            log.warning("job %s lost its runner after %d tokens: offered again", job.job_id, len(job.tokens))
            self._offer_elsewhere(job)

    def _offer_elsewhere(self, job: Job) -> None:
        job.runner_id = ""
        job.attempt = job.oldest_attempt = job.attempt + 1
        job.stream.resume()
        self._offer(job)

    async def _lose_after_last_words(self, job: Job, attempt: int, error: LlamactorError) -> None:
        await trio.sleep(self._deadlines.last_words_s)
        current = job.running_attempt if job.state is JobState.ACCEPTED else job.attempt
        if job.state is not JobState.ENDED and current == attempt:
            self._lose(job, error)

    async def _bury_runner(self, runner_id: str) -> None:
        await trio.sleep(self._deadlines.last_words_s)
        for job in self._jobs_on(runner_id):
            self._subscriptions.cancel(runner_id, job.job_id)  # a runner may be cut off and alive
            self._lose(job, RunnerDied("it ended"))
        self._subscriptions.close(runner_id)

    # Deadlines.

    async def _watch_deadlines(self) -> None:
        due = trio.current_time()
        while True:
            if not self._jobs and self._reannounce_by is None:
                self._has_deadlines = trio.Event()
                await self._has_deadlines.wait()  # without a deadline, because there is none to watch
            due = max(due, trio.current_time()) + self._deadlines.tick_s
            await trio.sleep_until(due)
            now = trio.current_time()
            if now - due > self._deadlines.tick_s:  # we were late ourselves: first hear what came meanwhile
                continue
            if self._link.is_connected:
                self._last_connected = now
            for job in list(self._jobs.values()):
                self._check_deadline(job, now)
            self._check_reannounced(now)

    def _check_reannounced(self, now: float) -> None:
        """Bury the runners that a new scheduler has not announced: they died while there was none to notice."""
        if self._reannounce_by is None or now < self._reannounce_by or not self._link.is_connected:
            return
        self._reannounce_by = None
        for runner_id in self._subscriptions.runner_ids - self._announced:
            self._start(self._bury_runner, runner_id)

    def _check_deadline(self, job: Job, now: float) -> None:
        if job.state is JobState.OFFERED:
            if now - max(job.offered_at, self._last_connected) > self._deadlines.scheduler_s:
                self._give_up(job, SchedulerUnavailable(self._deadlines.scheduler_s))
        elif job.state is JobState.GRANTED and now - (job.granted_at or now) > self._deadlines.accept_s:
            self._subscriptions.cancel(job.runner_id, job.job_id)
            self._lose(job, RunnerDied(f"it did not take the request within {self._deadlines.accept_s:.0f} s"))

    def _start(self, task: object, *args: object) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(task, *args)  # type: ignore[arg-type]  # pairs are right at each call
