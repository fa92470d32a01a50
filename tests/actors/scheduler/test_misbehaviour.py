"""Scheduler, launcher and runners as real processes; the runners are stubs that misbehave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import trio

from actors.codec import Codec, encode, encode_body
from actors.link import SchedulerLink
from actors.messages.gateway_to_runner import CancelAtRunner
from actors.messages.gateway_to_scheduler import GatewayBeat, GatewayHello, JobKind, Submit, Survey, Unload
from actors.messages.job import JobBody, RawPrompt
from actors.messages.scheduler_to_gateway import (
    Granted,
    Loaded,
    Lost,
    Overview,
    Refused,
    RunnerGone,
    ToGateway,
    Unloading,
)
from actors.process import Child
from actors.scheduler.actor import run_scheduler
from actors.settings import Settings
from actors.transport import Kind, Socket
from tests.actors.scheduler.stage import model
from tests.support.launcher_at_work import LauncherMaker
from tests.support.server import eventually, eventually_answered

pytestmark = pytest.mark.processes

_DEADLINE_S = 60.0
M = TypeVar("M", bound=msgspec.Struct)


@dataclass
class System:
    """A gateway in the test's hands, before a real scheduler with a real launcher."""

    link: SchedulerLink[ToGateway]
    heard: trio.MemoryReceiveChannel[msgspec.Struct]
    n_jobs: int = 0

    def submit(self, name: str, *, kind: JobKind = JobKind.GENERATE) -> str:
        """Ask a stub, whose name says how it misbehaves, for something."""
        self.n_jobs += 1
        job_id = f"job-{self.n_jobs}"
        payload = [] if kind is JobKind.LOAD else [encode_body(JobBody(prompt=RawPrompt(text="x")))]
        self.link.send(Submit(job_id=job_id, attempt=1, kind=kind, model=model(f"stub:{name}")), *payload)
        return job_id

    async def expect(self, kind: type[M], **fields: object) -> M:
        """Wait for a message of a type with these values, past all others."""
        with trio.fail_after(_DEADLINE_S):
            while True:
                message = await self.heard.receive()
                if isinstance(message, kind) and all(getattr(message, key) == value for key, value in fields.items()):
                    return message

    async def load(self, name: str) -> None:
        """Have a stub loaded."""
        await self.expect(Loaded, job_id=self.submit(name, kind=JobKind.LOAD))

    async def overview(self) -> Overview:
        """Ask for everything."""
        self.link.send(Survey(request_id="q"))
        return await self.expect(Overview)


@asynccontextmanager
async def system_in(run_dir: Path, **environ: str) -> AsyncIterator[System]:
    """Run scheduler and launcher for the time of a block."""
    settings = Settings(
        run_dir=run_dir, scheduler_endpoint=f"ipc://{run_dir}/scheduler.sock", load_timeout_s=1.5, drain_timeout_s=1.0
    )
    send, receive = trio.open_memory_channel[msgspec.Struct](1000)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_scheduler, settings)
        child = Child(LauncherMaker(run_dir).program(**environ))
        try:
            link: SchedulerLink[ToGateway] = SchedulerLink(
                endpoint=settings.scheduler_endpoint,
                identity="gw-test",
                codec=Codec(ToGateway),
                hello=GatewayHello,
                beat=GatewayBeat,
                on_message=lambda message, _payload: send.send_nowait(message),
            )
            nursery.start_soon(link.run)
            await eventually(lambda: link.epoch or None)  # what is said before the hello is answered with a question
            yield System(link, receive)
        finally:
            child.kill()
            with trio.CancelScope(shield=True):
                await child.wait()
            nursery.cancel_scope.cancel()


async def test_runner_that_starts_slowly_is_waited_for(run_dir: Path) -> None:
    """Within the time for loads; another model meanwhile loads beside it."""
    async with system_in(run_dir) as system:
        slow = system.submit("load=0.7", kind=JobKind.LOAD)
        fast = system.submit("fast", kind=JobKind.LOAD)
        assert (await system.expect(Loaded)).job_id == fast
        assert (await system.expect(Loaded)).job_id == slow


async def test_runner_that_loads_for_ever_is_killed_at_the_deadline(run_dir: Path) -> None:
    """OLLAMA_LOAD_TIMEOUT; the request is told so."""
    async with system_in(run_dir) as system:
        job_id = system.submit("load=600")
        refused = await system.expect(Refused, job_id=job_id)
        assert "OLLAMA_LOAD_TIMEOUT" in refused.failure.message

        async def is_gone() -> bool | None:
            return None if (await system.overview()).runners else True

        await eventually_answered(is_gone)


async def test_runner_that_falls_silent_is_killed_and_its_requests_refused(run_dir: Path) -> None:
    """Nothing but a hello came: the deadline of the load ends it."""
    async with system_in(run_dir) as system:
        refused = await system.expect(Refused, job_id=system.submit("silent"))
        assert refused.failure.code == "load_failed"


async def test_runner_that_dies_in_its_load_refuses_who_waits(run_dir: Path) -> None:
    """With how it ended, and nothing is loaded again by itself."""
    async with system_in(run_dir) as system:
        refused = await system.expect(Refused, job_id=system.submit("crash_load"))
        assert "exit status 70" in refused.failure.message
        assert (await system.overview()).models[0].n_deaths == 1


async def test_runner_that_dies_in_every_load_is_suspended(run_dir: Path) -> None:
    """The fifth failure in a row; the reason and a time to come back are told."""
    async with system_in(run_dir) as system:
        for _ in range(5):
            refused = await system.expect(Refused, job_id=system.submit("crash_load"))
            assert refused.failure.code == "load_failed"
        refused = await system.expect(Refused, job_id=system.submit("crash_load"))
        assert refused.failure.code == "model_suspended"
        assert refused.failure.fields["retry_after_s"]
        await system.load("healthy")


@pytest.mark.parametrize("fault", ["crash_stream", "stop_stream"])
async def test_runner_that_dies_or_stops_in_a_stream_loses_its_jobs_once(run_dir: Path, fault: str) -> None:
    """The gateway is told of both; one that hangs is killed for its silence."""
    async with system_in(run_dir) as system:
        job_id = system.submit(f"{fault}=1,tokens=5")
        granted = await system.expect(Granted, job_id=job_id)
        with Socket(Kind.XSUB) as xsub:
            xsub.connect(granted.endpoint)
            xsub.send_nowait([b"\x01gw-test"])
            xsub.send_nowait([encode(CancelAtRunner(job_id="nobody"))])
            lost = await system.expect(Lost, job_id=job_id)
            assert lost.failure.code == "runner_died"
            await system.expect(RunnerGone, runner_id=granted.runner_id)


async def test_runner_that_lies_about_its_memory_shuts_nobody_out(run_dir: Path) -> None:
    """It claims an exabyte; the next model is loaded all the same."""
    async with system_in(run_dir) as system:
        await system.load("lie")
        await system.load("honest")
        liar, honest = sorted((await system.overview()).runners, key=lambda each: each.name, reverse=True)
        assert (liar.name, honest.name) == ("stub:lie", "stub:honest")
        assert liar.size_bytes < 1 << 50


async def test_runner_that_ignores_its_drain_is_killed(run_dir: Path) -> None:
    """An unload ends in time, whatever the runner thinks of it."""
    async with system_in(run_dir) as system:
        await system.load("ignore_drain")
        (runner,) = (await system.overview()).runners
        system.link.send(Unload(request_id="u", model_key=model("stub:ignore_drain").key))
        await system.expect(Unloading)
        await system.expect(RunnerGone, runner_id=runner.runner_id)
