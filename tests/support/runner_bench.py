"""A runner process between a scheduler and a gateway that a test plays itself, over real sockets."""

import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from actors.codec import Codec, encode, encode_body
from actors.messages.embedding import EmbedBody
from actors.messages.gateway_to_runner import CancelAtRunner
from actors.messages.job import ChatMessage, ChatPrompt, JobBody, SamplingOptions
from actors.messages.launcher_to_runner import Assignment, RendererAssignment
from actors.messages.model import LoadPlan, ModelSpec
from actors.messages.runner_to_gateway import Accepted, Delta, Failed, Finished, Part, Step
from actors.messages.runner_to_scheduler import FromRunner, RunnerBeat, RunnerHello, RunnerReady
from actors.messages.scheduler_to_gateway import Welcome
from actors.messages.scheduler_to_runner import Start
from actors.transport import Kind, Socket
from tests.support.entry import running_entry

GATEWAY = "gw-0123456789abcdef"
_DEADLINE_S = 60
T = TypeVar("T", bound=msgspec.Struct)


class RunnerBench:
    """The test's end of the sockets of one runner."""

    def __init__(self, run_dir: Path, process: "subprocess.Popen[bytes]", scheduler: Socket) -> None:
        self.process = process
        self.scheduler = scheduler
        self._endpoint = f"ipc://{run_dir}/runner.sock"
        self._from_runner: Codec[FromRunner] = Codec(FromRunner)
        self._steps: Codec[Step] = Codec(Step)
        self._parts: list[Part] = []
        self.gateway: Socket | None = None

    def tell(self, message: msgspec.Struct, *payload: bytes) -> None:
        """Speak as the scheduler."""
        self.scheduler.send_nowait([b"runner", encode(message), *payload])

    def start(self, job_id: str, text: str, *, attempt: int = 1, num_predict: int = 16) -> None:
        """Start a greedy chat turn."""
        prompt = ChatPrompt(messages=(ChatMessage(role="user", content=text),))
        body = JobBody(prompt=prompt, sampling=SamplingOptions(temperature=0), num_predict=num_predict)
        self.start_body(job_id, body, attempt=attempt)

    def start_body(self, job_id: str, body: JobBody | EmbedBody, *, attempt: int = 1) -> None:
        """Start any job."""
        self.tell(Start(epoch="e", job_id=job_id, attempt=attempt, gateway_id=GATEWAY), encode_body(body))

    async def hear(self, kind: type[T]) -> T:
        """Wait for the next message of a kind to the scheduler; heartbeats and others in between are skipped."""
        with trio.fail_after(_DEADLINE_S):
            while True:
                _, frame, *_ = await self.scheduler.receive()
                message = self._from_runner.decode(frame)
                if isinstance(message, RunnerHello | RunnerBeat):
                    self.tell(Welcome(epoch="e"))
                if isinstance(message, kind):
                    return message

    def subscribe(self) -> None:
        """Connect as the gateway."""
        self.gateway = Socket(Kind.XSUB)
        self.gateway.connect(self._endpoint)
        self.gateway.send_nowait([b"\x01" + GATEWAY.encode()])

    def unsubscribe(self) -> None:
        """Leave as a gateway that dies leaves."""
        assert self.gateway is not None
        self.gateway.close()
        self.gateway = None

    def cancel(self, job_id: str) -> None:
        """Cancel upstream, as a gateway does."""
        assert self.gateway is not None
        self.gateway.send_nowait([encode(CancelAtRunner(job_id=job_id))])

    async def part(self) -> Part:
        """Wait for the next part for the gateway."""
        assert self.gateway is not None
        with trio.fail_after(_DEADLINE_S):
            while not self._parts:
                (frame,) = await self.gateway.receive()
                assert frame.startswith(GATEWAY.encode())
                self._parts += self._steps.decode(frame.removeprefix(GATEWAY.encode())).parts
        return self._parts.pop(0)

    async def acceptance(self) -> tuple[str, int]:
        """Wait for the next part, which accepts a job; give the job's id and attempt."""
        part = await self.part()
        assert isinstance(part, Accepted)
        return part.job_id, part.attempt

    async def answer(self, job_id: str) -> tuple[str, Finished | Failed]:
        """Collect the text of a job until its end; parts of other jobs are dropped."""
        text = ""
        while True:
            part = await self.part()
            if part.job_id != job_id:
                continue
            if isinstance(part, Delta | Finished):
                text += part.text
            if isinstance(part, Finished | Failed):
                return text, part

    async def exit_status(self) -> int:
        """Wait for the end of the process."""
        with trio.fail_after(_DEADLINE_S):
            return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)


@contextlib.asynccontextmanager
async def runner_bench(run_dir: Path, weights: Path, *, n_slots: int = 2) -> AsyncIterator[RunnerBench]:
    """Run a renderer and a runner of `weights`; the block begins when the model is ready."""
    async with loading_bench(run_dir, weights, n_slots=n_slots) as bench:
        await bench.hear(RunnerReady)
        yield bench


@contextlib.asynccontextmanager
async def loading_bench(
    run_dir: Path, weights: Path, *, n_slots: int = 2, kv_bytes_per_token: int = 1024
) -> AsyncIterator[RunnerBench]:
    """Run a renderer and a runner of `weights`; the block begins at once."""
    renderer = f"ipc://{run_dir}/renderer.sock"
    model = ModelSpec(
        key="tiny",
        name="tiny:latest",
        digest="0" * 64,
        weights_path=str(weights),
        weights_bytes=0,
        n_layers=4,
        n_ctx_train=8192,
        kv_bytes_per_token=kv_bytes_per_token,
    )
    assignment = Assignment(
        runner_id="runner",
        model=model,
        plan=LoadPlan(num_ctx=1024, n_slots=n_slots),
        scheduler_endpoint=f"ipc://{run_dir}/scheduler.sock",
        endpoint=f"ipc://{run_dir}/runner.sock",
        renderer_endpoint=renderer,
        drain_timeout_s=10,
    )
    with Socket(Kind.ROUTER) as scheduler:
        scheduler.bind(assignment.scheduler_endpoint)
        with (
            running_entry("runners.renderer", RendererAssignment(endpoint=renderer)),
            running_entry("runners.process", assignment) as process,
        ):
            bench = RunnerBench(run_dir, process, scheduler)
            try:
                yield bench
            finally:
                if bench.gateway is not None:
                    bench.gateway.close()
