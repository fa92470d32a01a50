"""A scheduler and its runners in one: real ZeroMQ sockets, real messages, answers from a script.

It runs as trio tasks beside the gateway under test. A test sets `plan`, a function from a job to what its runner does,
and may wait on `submitted`, `cancelled` and the like, which list what the gateway has said.
"""

import array
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import trio

from actors.codec import Codec, encode
from actors.errors import Failure, PeerUnreachable
from actors.messages.embedding import EmbedBody
from actors.messages.gateway_to_runner import CancelAtRunner, FromSubscriber
from actors.messages.gateway_to_scheduler import (
    AskProgress,
    CancelJob,
    FromGateway,
    GatewayBeat,
    GatewayHello,
    JobKind,
    ListRunners,
    Pin,
    Retire,
    Submit,
    Survey,
    Unload,
)
from actors.messages.job import JobBody, Resumption
from actors.messages.overview import RunnerStatus
from actors.messages.runner_to_gateway import Accepted, Delta, DoneReason, Failed, Finished, Part, Step, Vectors
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
    Unloading,
    Welcome,
    WhoAreYou,
)
from actors.transport import Kind, Socket

_from_gateway: Codec[FromGateway] = Codec(FromGateway)
_from_subscriber: Codec[FromSubscriber] = Codec(FromSubscriber)
_bodies: Codec[JobBody | EmbedBody] = Codec(JobBody | EmbedBody)
_resumptions: Codec[Resumption] = Codec(Resumption)

T = TypeVar("T")


class Log(Generic[T]):
    """What happened, in order, with a way to wait for more."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._changed = trio.Event()

    def add(self, item: T) -> None:
        """Append an item."""
        self.items.append(item)
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for(self, count: int) -> T:
        """Wait until there are so many and give the last of those."""
        while len(self.items) < count:
            await self._changed.wait()
        return self.items[count - 1]


@dataclass(frozen=True, slots=True)
class StubJob:
    """A job as the stub's runner sees it."""

    gateway_id: str
    submit: Submit
    body: JobBody | None
    runner: "StubRunner"
    embedding: EmbedBody | None = None
    """What it asks for instead of a generation."""
    resumed: tuple[int, ...] = ()
    """Tokens of an earlier runner."""

    async def accept(self) -> None:
        """Publish the first part."""
        await self.publish(Accepted(self.submit.job_id, self.submit.attempt))

    async def publish(self, *parts: Part) -> None:
        """Publish parts as one step, once the gateway listens."""
        await self.runner.publish(self.gateway_id, Step(parts))

    def delta(self, seq: int, text: str) -> Delta:
        """Make a delta of this job."""
        return Delta(self.submit.job_id, self.submit.attempt, seq, text, (seq,))

    def finished(self, seq: int, text: str = "", *, reason: DoneReason = DoneReason.STOP) -> Finished:
        """Make the last part of this job."""
        returns_context = self.body is not None and self.body.return_context
        return Finished(
            job_id=self.submit.job_id,
            attempt=self.submit.attempt,
            seq=seq,
            text=text,
            tokens=(),
            reason=reason,
            prompt_tokens=5,
            cached_tokens=0,
            generated_tokens=seq,
            prompt_ns=1_000_000,
            generate_ns=2_000_000,
            context=(1, 2, 3) if returns_context else (),
        )

    async def give_vectors(self, *vectors: list[float]) -> None:
        """Accept the job, answer with one part per vector, and finish."""
        await self.accept()
        for seq, vector in enumerate(vectors, start=1):
            values = array.array("f", vector).tobytes()
            await self.publish(Vectors(self.submit.job_id, self.submit.attempt, seq, values))
        await self.publish(self.finished(len(vectors) + 1))

    def failed(self, seq: int, failure: Failure) -> Failed:
        """Make a failure of this job."""
        return Failed(self.submit.job_id, self.submit.attempt, seq, failure)

    async def say(self, *texts: str, reason: DoneReason = DoneReason.STOP) -> None:
        """Accept the job, answer with one delta per text, and finish."""
        await self.accept()
        for seq, text in enumerate(texts, start=1):
            await self.publish(self.delta(seq, text))
        await self.publish(self.finished(len(texts) + 1, reason=reason))


Plan = Callable[[StubJob], Awaitable[None]]


async def say_hello(job: StubJob) -> None:
    """Answer two words, or the same vector for each input; the plan of a backend that was told nothing else."""
    if job.embedding is not None:
        await job.give_vectors(*[[0.6, 0.8]] * len(job.embedding.inputs))
    else:
        await job.say("Hello", " world")


def paused(resume: trio.Event) -> Plan:
    """Make a plan that says "a", waits for the event, then says "b" and ends."""

    async def pause(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))
        await resume.wait()
        await job.publish(job.delta(2, "b"), job.finished(3))

    return pause


class StubRunner:
    """The XPUB of one runner, and what gateways sent to it."""

    def __init__(self, runner_id: str, endpoint: str) -> None:
        self.runner_id = runner_id
        self.endpoint = endpoint
        self.cancelled = Log[str]()
        self._socket = Socket(Kind.XPUB)
        self._socket.bind(endpoint)
        self._listening: set[str] = set()
        self._subscribed = trio.Condition()

    async def run(self) -> None:
        """Serve until cancelled, then close the socket."""
        with self._socket:
            while True:
                frame = (await self._socket.receive())[0]
                if frame[:1] == b"\x01":
                    self._listening.add(frame[1:].decode())
                    async with self._subscribed:
                        self._subscribed.notify_all()
                elif frame[:1] == b"\x00":
                    self._listening.discard(frame[1:].decode())
                else:
                    message: CancelAtRunner = _from_subscriber.decode(frame)
                    self.cancelled.add(message.job_id)

    async def publish(self, gateway_id: str, step: Step) -> None:
        """Publish a step to a gateway, once it listens."""
        while gateway_id not in self._listening:
            async with self._subscribed:
                await self._subscribed.wait()
        self._socket.send_nowait([gateway_id.encode() + encode(step)])
        await trio.lowlevel.checkpoint()


class StubBackend:
    """The scheduler's ROUTER, and as many runners as a test adds."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.endpoint = f"ipc://{run_dir}/scheduler.sock"
        self.plan: Plan = say_hello
        self.refusal: Failure | None = None
        """Answer to every `Submit` while it is set."""
        self.is_deaf = False
        """While true, nothing is answered."""
        self.statuses: tuple[RunnerStatus, ...] = ()
        self.progress: list[JobProgress] = []
        """Answers to `AskProgress`, in turn; while there are any, generations are not granted."""
        self._held: list[tuple[str, Submit, list[bytes]]] = []
        self.epoch = secrets.token_hex(4)
        self.submitted = Log[Submit]()
        self.cancelled = Log[str]()
        self.unloaded = Log[str]()
        self.orders = Log[Pin | Retire]()
        self.overview = Overview(request_id="")
        self.hellos = Log[str]()
        self.runners: list[StubRunner] = []
        self._router: Socket
        self._nursery: trio.Nursery
        self._known: set[str] = set()

    @property
    def runner(self) -> StubRunner:
        """The runner that jobs go to: the last one added."""
        return self.runners[-1]

    def add_runner(self) -> StubRunner:
        """Start a runner and announce it to the gateways."""
        runner_id = f"{self.epoch}-{len(self.runners)}"
        runner = StubRunner(runner_id, f"ipc://{self.run_dir}/runner-{runner_id}.sock")
        self.runners.append(runner)
        self._nursery.start_soon(runner.run)
        self.tell_all(RunnerUp(runner_id=runner.runner_id, endpoint=runner.endpoint))
        return runner

    def lose(self, job: StubJob, failure: Failure) -> None:
        """Report a job as lost with its runner."""
        submit = job.submit
        lost = Lost(epoch=self.epoch, job_id=submit.job_id, attempt=submit.attempt, failure=failure)
        self.tell(job.gateway_id, lost)

    def tell_gone(self, runner: StubRunner) -> None:
        """Report a runner's end."""
        self.tell_all(RunnerGone(runner_id=runner.runner_id))

    def forget_all(self) -> None:
        """Become another scheduler, which knows nobody."""
        self.epoch = secrets.token_hex(4)
        self._known.clear()

    def tell(self, gateway_id: str, message: msgspec.Struct) -> None:
        """Send a message to a gateway, unless it is gone."""
        with contextlib.suppress(PeerUnreachable):
            self._router.send_nowait([gateway_id.encode(), encode(message)])

    def tell_all(self, message: msgspec.Struct) -> None:
        """Send a message to every gateway known."""
        for gateway_id in self._known:
            self.tell(gateway_id, message)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        with Socket(Kind.ROUTER) as self._router:
            self._router.bind(self.endpoint)
            async with trio.open_nursery() as self._nursery:
                self.add_runner()
                task_status.started()
                while True:
                    identity, header, *payload = await self._router.receive()
                    if not self.is_deaf:
                        self._on_message(identity.decode(), _from_gateway.decode(header), payload)

    def _on_message(self, gateway_id: str, message: FromGateway, payload: list[bytes]) -> None:
        if isinstance(message, GatewayHello):
            self._known.add(gateway_id)
            self.hellos.add(gateway_id)
            self.tell(gateway_id, Welcome(epoch=self.epoch))
            for runner in self.runners:
                self.tell(gateway_id, RunnerUp(runner_id=runner.runner_id, endpoint=runner.endpoint))
        elif gateway_id not in self._known:
            self.tell(gateway_id, WhoAreYou(epoch=self.epoch))
        else:
            self._on_wish(gateway_id, message, payload)

    def _on_wish(self, gateway_id: str, message: FromGateway, payload: list[bytes]) -> None:
        match message:
            case GatewayBeat():
                self.tell(gateway_id, Welcome(epoch=self.epoch))
            case CancelJob():
                self.cancelled.add(message.job_id)
            case Unload():
                self.unloaded.add(message.model_key)
                self.tell(gateway_id, Unloading(request_id=message.request_id, n_runners=1))
            case AskProgress():
                waiting = self.progress.pop(0) if self.progress else JobProgress(request_id="")
                self.tell(gateway_id, msgspec.structs.replace(waiting, request_id=message.request_id))
                while self._held and not self.progress:
                    self._grant(*self._held.pop())
            case Pin() | Retire():
                self.orders.add(message)
                n_runners = -1 if isinstance(message, Retire) and message.target == "nobody" else 1
                self.tell(gateway_id, Unloading(request_id=message.request_id, n_runners=n_runners))
            case Survey():
                self.tell(gateway_id, msgspec.structs.replace(self.overview, request_id=message.request_id))
            case ListRunners():
                self.tell(gateway_id, RunnerList(request_id=message.request_id, runners=self.statuses))
            case Submit():
                self._on_submit(gateway_id, message, payload)
            case _:
                raise AssertionError(message)

    def _on_submit(self, gateway_id: str, submit: Submit, payload: list[bytes]) -> None:
        self.submitted.add(submit)
        epoch, job_id, attempt = self.epoch, submit.job_id, submit.attempt
        if self.refusal is not None:
            self.tell(gateway_id, Refused(epoch=epoch, job_id=job_id, attempt=attempt, failure=self.refusal))
        elif submit.kind is JobKind.LOAD:
            self.tell(gateway_id, Loaded(epoch=epoch, job_id=job_id, attempt=attempt))
        elif self.progress:
            self._held.append((gateway_id, submit, payload))
        else:
            self._grant(gateway_id, submit, payload)

    def _grant(self, gateway_id: str, submit: Submit, payload: list[bytes]) -> None:
        runner = self.runner
        granted = Granted(
            epoch=self.epoch,
            job_id=submit.job_id,
            attempt=submit.attempt,
            runner_id=runner.runner_id,
            endpoint=runner.endpoint,
        )
        self.tell(gateway_id, granted)
        body = _bodies.decode_body(payload[0])
        resumed = _resumptions.decode_body(payload[1]).tokens if len(payload) > 1 else ()
        job = (
            StubJob(gateway_id, submit, None, runner, embedding=body)
            if isinstance(body, EmbedBody)
            else StubJob(gateway_id, submit, body, runner, resumed=resumed)
        )
        self._nursery.start_soon(self.plan, job)


@contextlib.asynccontextmanager
async def running_backend(run_dir: Path) -> AsyncIterator[StubBackend]:
    """Run a backend for the time of a block."""
    backend = StubBackend(run_dir)
    async with trio.open_nursery() as nursery:
        await nursery.start(backend.run)
        yield backend
        nursery.cancel_scope.cancel()
