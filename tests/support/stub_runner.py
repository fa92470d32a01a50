"""A runner without a model: it speaks the real messages, computes nothing, and misbehaves on demand.

Its entry is `main(pipe)`, as the launcher calls it. The switches stand in the model's name after the colon, separated
by commas, as in `stub:tokens=100,pace=0.01,ignore_sigterm`:

    load=SECONDS      be loading for so long (0)
    tokens=N          deltas of an answer, at most the job's `num_predict` (3)
    pace=SECONDS      between two deltas (0)
    ignore_sigterm    do not drain on SIGTERM
    crash_load        die while loading
    fail_load         report a failed load, then end
    crash_stream=N    die after N deltas
    stop_stream=N     stop as a process after N deltas: silent, and deaf to SIGTERM
    silent            send no heartbeat after the hello
    subscribe=SECONDS wait so long for a subscription (5)
    lie               claim an absurd amount of memory
    ignore_drain      go on after being told to drain
"""

import os
import signal
from multiprocessing.connection import Connection

import msgspec
import trio

from actors.codec import Codec, encode
from actors.errors import LoadFailed, MalformedMessage, RunnerDied
from actors.link import SchedulerLink
from actors.messages.gateway_to_runner import FromSubscriber
from actors.messages.job import JobBody
from actors.messages.launcher_to_runner import Assignment
from actors.messages.model import JobRef, RunnerUse
from actors.messages.runner_to_gateway import Accepted, Delta, DoneReason, Failed, Finished, Part, Step
from actors.messages.runner_to_scheduler import (
    JobEnded,
    Outcome,
    RunnerBeat,
    RunnerHello,
    RunnerLoadFailed,
    RunnerReady,
    RunnerState,
)
from actors.messages.scheduler_to_runner import Cancel, Drain, Start, ToRunner
from actors.process import set_title
from actors.transport import Kind, Socket, flush

CRASH_STATUS = 70
_assignments: Codec[Assignment] = Codec(Assignment)
_bodies: Codec[JobBody] = Codec(JobBody)
_subscribers: Codec[FromSubscriber] = Codec(FromSubscriber)


def main(pipe: Connection) -> None:
    """Wait for the assignment, then be that runner."""
    try:
        assignment = _assignments.decode(pipe.recv_bytes())
    except EOFError:
        return
    set_title(f"runner {assignment.model.name}")
    trio.run(StubRunner(assignment).run)
    flush()


class StubRunner:
    """One life of a stub."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        text = assignment.model.name.partition(":")[2]
        self._switches = dict(part.partition("=")[::2] for part in text.split(","))
        self._state = RunnerState.LOADING
        self._xpub = Socket(Kind.XPUB)
        self._subscribed: dict[str, trio.Event] = {}
        self._jobs: dict[str, tuple[JobRef, trio.CancelScope]] = {}
        self._calm = trio.Event()
        self._link: SchedulerLink[ToRunner] = SchedulerLink(
            endpoint=assignment.scheduler_endpoint,
            identity=assignment.runner_id,
            codec=Codec(ToRunner),
            hello=self._hello,
            beat=lambda: RunnerBeat(state=self._state, use=RunnerUse(n_active=len(self._jobs))),
            on_message=self._on_message,
        )

    async def run(self) -> None:
        """Load, serve, and return when drained."""
        async with trio.open_nursery() as self._nursery:
            with self._xpub:
                self._xpub.bind(self._assignment.endpoint)
                self._nursery.start_soon(self._watch_signals)
                if self._has("silent"):
                    await self._say_hello_only()
                else:
                    self._nursery.start_soon(self._link.run)
                self._nursery.start_soon(self._load)
                self._nursery.start_soon(self._receive_upstream)
                await self._calm.wait()
                await trio.lowlevel.checkpoint()
            self._nursery.cancel_scope.cancel()

    def _has(self, switch: str) -> bool:
        return switch in self._switches

    def _number(self, switch: str, default: float) -> float:
        return float(self._switches.get(switch, default))

    def _hello(self) -> RunnerHello:
        return RunnerHello(
            state=self._state,
            model=self._assignment.model,
            plan=self._assignment.plan,
            endpoint=self._assignment.endpoint,
            jobs=tuple(ref for ref, _ in self._jobs.values()),
        )

    async def _say_hello_only(self) -> None:
        with Socket(Kind.DEALER, identity=self._assignment.runner_id) as dealer:
            dealer.connect(self._assignment.scheduler_endpoint)
            dealer.send_nowait([encode(self._hello())])
            await dealer.receive()

    async def _load(self) -> None:
        await trio.sleep(self._number("load", 0))
        if self._has("crash_load"):
            os._exit(CRASH_STATUS)
        if self._has("fail_load"):
            self._send(RunnerLoadFailed(failure=LoadFailed("the stub was told to fail").as_failure()))
            self._calm.set()
            return
        self._state = RunnerState.READY
        size_bytes = 1 << (60 if self._has("lie") else 20)
        self._send(RunnerReady(load_s=self._number("load", 0), size_bytes=size_bytes, size_vram_bytes=0))

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                if not self._has("ignore_sigterm"):
                    self._drain()

    def _send(self, message: msgspec.Struct) -> None:
        if not self._has("silent"):
            self._link.send(message)

    def _on_message(self, message: ToRunner, payload: list[bytes]) -> None:
        match message:
            case Start():
                if message.job_id not in self._jobs:
                    self._nursery.start_soon(self._run_job, message, payload)
            case Cancel():
                self._cancel(message.job_id)
            case Drain() if not self._has("ignore_drain"):
                self._drain()
            case _:
                pass

    def _cancel(self, job_id: str) -> None:
        if job_id in self._jobs:
            self._jobs[job_id][1].cancel()

    def _drain(self) -> None:
        if self._state is not RunnerState.DRAINING:
            self._state = RunnerState.DRAINING
            self._link.beat_now()
        if not self._jobs:
            self._calm.set()

    async def _receive_upstream(self) -> None:
        while True:
            (frame, *_) = await self._xpub.receive()
            if frame[:1] == b"\x01":
                self._subscription(frame[1:].decode()).set()
            elif frame[:1] != b"\x00":
                try:
                    self._cancel(_subscribers.decode(frame).job_id)
                except MalformedMessage:
                    continue

    def _subscription(self, gateway_id: str) -> trio.Event:
        return self._subscribed.setdefault(gateway_id, trio.Event())

    async def _run_job(self, start: Start, payload: list[bytes]) -> None:
        ref = JobRef(start.job_id, start.attempt, start.gateway_id)
        with trio.CancelScope() as scope:
            self._jobs[ref.job_id] = (ref, scope)
            outcome = await self._answer(ref, _bodies.decode_body(payload[0]))
        if scope.cancelled_caught:
            outcome = Outcome.CANCELLED
        del self._jobs[ref.job_id]
        self._send(JobEnded(job_id=ref.job_id, attempt=ref.attempt, outcome=outcome))
        if self._state is RunnerState.DRAINING:
            self._drain()

    async def _answer(self, ref: JobRef, body: JobBody) -> Outcome:
        with trio.move_on_after(self._number("subscribe", 5)) as bound:
            await self._subscription(ref.gateway_id).wait()
        if bound.cancelled_caught:
            failure = RunnerDied("the gateway did not subscribe").as_failure()
            self._publish(ref, Failed(ref.job_id, ref.attempt, 1, failure))
            return Outcome.FAILED
        self._publish(ref, Accepted(ref.job_id, ref.attempt))
        n_tokens = int(self._number("tokens", 3))
        if body.num_predict >= 0:
            n_tokens = min(n_tokens, body.num_predict)
        for seq in range(1, n_tokens + 1):
            if seq - 1 == self._number("crash_stream", -1):
                os._exit(CRASH_STATUS)
            if seq - 1 == self._number("stop_stream", -1):
                os.kill(os.getpid(), signal.SIGSTOP)
            self._publish(ref, Delta(ref.job_id, ref.attempt, seq, f"word{seq} ", (seq,)))
            await trio.sleep(self._number("pace", 0))
        self._publish(
            ref,
            Finished(
                ref.job_id,
                ref.attempt,
                seq=n_tokens + 1,
                text="",
                tokens=(),
                reason=DoneReason.STOP,
                prompt_tokens=1,
                cached_tokens=0,
                generated_tokens=n_tokens,
                prompt_ns=1,
                generate_ns=1,
            ),
        )
        return Outcome.FINISHED

    def _publish(self, ref: JobRef, part: Part) -> None:
        self._xpub.send_nowait([ref.gateway_id.encode() + encode(Step((part,)))])
