"""The scheduler over real sockets: a ROUTER in a run folder, DEALERs as its peers, and as a process."""

import logging
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
import pytest
import trio

from actors.codec import Codec, encode
from actors.errors import AlreadyRunning
from actors.messages.gateway_to_scheduler import GatewayBeat, GatewayHello, JobKind, Submit
from actors.messages.launcher_to_scheduler import LauncherBeat, LauncherHello, RunnerExited
from actors.messages.model import JobRef, RunnerUse
from actors.messages.runner_to_scheduler import JobEnded, Outcome, RunnerBeat, RunnerHello, RunnerReady, RunnerState
from actors.messages.scheduler_to_gateway import Granted, Loaded, ToGateway, Welcome, WhoAreYou
from actors.messages.scheduler_to_launcher import StartRunner, ToLauncher
from actors.messages.scheduler_to_runner import Drain, Start, ToRunner
from actors.process import python_program
from actors.scheduler.actor import run_scheduler
from actors.settings import Settings
from actors.transport import Kind, Socket
from tests.actors.scheduler.stage import host, model, plan

_TIMEOUT_S = 60.0
_codec: Codec[Any] = Codec(ToGateway | ToLauncher | ToRunner)
M = TypeVar("M", bound=msgspec.Struct)


class Peer:
    """A DEALER in the test's hands."""

    def __init__(self, settings: Settings, identity: str) -> None:
        self._socket = Socket(Kind.DEALER, identity=identity)
        self._socket.connect(settings.scheduler_endpoint)

    def say(self, message: msgspec.Struct, *payload: bytes) -> None:
        """Send a message."""
        self._socket.send_nowait([encode(message), *payload])

    def say_frames(self, *frames: bytes) -> None:
        """Send whatever."""
        self._socket.send_nowait(list(frames))

    async def expect(self, kind: type[M]) -> M:
        """Wait for the next message of a type, past all others."""
        return (await self.expect_frames(kind))[0]

    async def expect_frames(self, kind: type[M]) -> tuple[M, list[bytes]]:
        """Wait for the next message of a type with its payload, past all others."""
        with trio.fail_after(_TIMEOUT_S):
            while True:
                header, *payload = await self._socket.receive()
                message = _codec.decode(header)
                if isinstance(message, kind):
                    return message, payload

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()


def settings_in(run_dir: Path) -> Settings:
    """Give the settings of a run folder."""
    return Settings(run_dir=run_dir, scheduler_endpoint=f"ipc://{run_dir}/scheduler.sock")


@asynccontextmanager
async def scheduler_in(run_dir: Path) -> AsyncIterator[Settings]:
    """Run a scheduler in a run folder while the block runs."""
    settings = settings_in(run_dir)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_scheduler, settings)
        yield settings
        nursery.cancel_scope.cancel()


def submit(job_id: str = "job", attempt: int = 1) -> Submit:
    """Make a request for the default model."""
    return Submit(job_id=job_id, attempt=attempt, kind=JobKind.GENERATE, model=model())


def ready_hello(*jobs: JobRef) -> RunnerHello:
    """Make the hello of a runner that serves the default model."""
    return RunnerHello(state=RunnerState.READY, model=model(), plan=plan(), endpoint="ipc:///r", jobs=jobs)


async def test_scheduler_welcomes_who_says_hello(run_dir: Path) -> None:
    """Hello and every heartbeat are answered with the same epoch."""
    async with scheduler_in(run_dir) as settings:
        with Peer(settings, "gw") as gateway:
            gateway.say(GatewayHello())
            first = await gateway.expect(Welcome)
            gateway.say(GatewayBeat())
            assert await gateway.expect(Welcome) == first


async def test_scheduler_asks_a_stranger_who_it_is(run_dir: Path) -> None:
    """A peer of an earlier scheduler learns so that there is a new one."""
    async with scheduler_in(run_dir) as settings:
        with Peer(settings, "gw") as gateway:
            gateway.say(GatewayBeat())
            asked = await gateway.expect(WhoAreYou)
            gateway.say(GatewayHello())
            assert (await gateway.expect(Welcome)).epoch == asked.epoch


async def test_scheduler_takes_a_request_through_launcher_and_runner(run_dir: Path) -> None:
    """From `Submit` over `StartRunner` to the granted job with its body, and on to the next."""
    async with scheduler_in(run_dir) as settings:
        with Peer(settings, "gw") as gateway, Peer(settings, "host") as launcher:
            gateway.say(GatewayHello())
            gateway.say(submit(), b"body")
            launcher.say(LauncherHello(host=host()))
            order = await launcher.expect(StartRunner)
            with Peer(settings, order.runner_id) as runner:
                runner.say(
                    RunnerHello(state=RunnerState.LOADING, model=order.model, plan=order.plan, endpoint="ipc:///r")
                )
                runner.say(RunnerReady(load_s=0.1, size_bytes=0, size_vram_bytes=0))
                start, payload = await runner.expect_frames(Start)
                assert (start.job_id, start.gateway_id, payload) == ("job", "gw", [b"body"])
                granted = await gateway.expect(Granted)
                assert (granted.job_id, granted.endpoint) == ("job", "ipc:///r")
                runner.say(JobEnded(job_id="job", attempt=1, outcome=Outcome.FINISHED))
                gateway.say(submit("next"), b"more")
                assert (await runner.expect(Start)).job_id == "next"


async def test_scheduler_drops_what_does_not_decode(run_dir: Path) -> None:
    """Rubbish from one peer harms nobody."""
    async with scheduler_in(run_dir) as settings:
        with Peer(settings, "rubbish") as peer, Peer(settings, "\N{SNOWMAN}") as snowman:
            for frames in ([b""], [b"\xff"], [encode(GatewayHello())[:3]], [b"@" + encode(GatewayHello())[1:]]):
                peer.say_frames(*frames)
            snowman.say(GatewayHello())
            peer.say(GatewayHello())
            await peer.expect(Welcome)


async def test_scheduler_restarted_learns_what_is_loaded_and_running(run_dir: Path) -> None:
    """Peers are asked who they are; the runner's job goes on and its free slots are used."""
    async with scheduler_in(run_dir) as settings:
        with Peer(settings, "gw") as gateway:
            gateway.say(GatewayHello())
            old = (await gateway.expect(Welcome)).epoch
    with Peer(settings, "gw") as gateway, Peer(settings, "host") as launcher, Peer(settings, "r1") as runner:
        async with scheduler_in(run_dir):
            gateway.say(GatewayBeat())
            launcher.say(LauncherBeat(host=host()))
            runner.say(RunnerBeat(state=RunnerState.READY, use=RunnerUse(n_active=1)))
            assert (await gateway.expect(WhoAreYou)).epoch != old
            gateway.say(GatewayHello())
            gateway.say(submit("new"), b"body")
            await launcher.expect(WhoAreYou)
            launcher.say(LauncherHello(host=host(), runner_ids=("r1",)))
            await runner.expect(WhoAreYou)
            runner.say(ready_hello(JobRef("running", 1, "gw")))
            assert (await runner.expect(Start)).job_id == "new"
            assert (await gateway.expect(Granted)).runner_id == "r1"


async def test_scheduler_in_a_folder_that_is_taken_refuses(run_dir: Path) -> None:
    """A second one would steal the socket in silence."""
    async with scheduler_in(run_dir) as settings:
        with pytest.raises(AlreadyRunning):
            await run_scheduler(settings)
        with Peer(settings, "gw") as gateway:
            gateway.say(GatewayHello())
            await gateway.expect(Welcome)


async def test_scheduler_removes_its_socket_and_replaces_a_stale_one(run_dir: Path) -> None:
    """A killed predecessor's file is no obstacle; ours is private and goes with us."""
    path = run_dir / "scheduler.sock"
    path.write_text("stale")
    async with scheduler_in(run_dir):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.is_socket()
    assert not path.exists()


async def start_process(run_dir: Path) -> trio.Process:
    """Start `python -m actors.scheduler` in a run folder."""
    program = python_program("actors.scheduler")
    environ = {**os.environ, **program.environ, "LLAMACTOR_RUN_DIR": str(run_dir)}
    return await trio.lowlevel.open_process(list(program.argv), env=environ, stderr=-1)


async def test_scheduler_ticks_when_a_deadline_passes(run_dir: Path) -> None:
    """A keep-alive of a twentieth of a second ends without anybody saying anything."""
    async with scheduler_in(run_dir) as settings:
        with Peer(settings, "gw") as gateway, Peer(settings, "host") as launcher, Peer(settings, "r1") as runner:
            gateway.say(GatewayHello())
            launcher.say(LauncherHello(host=host(), runner_ids=("r1",)))
            runner.say(ready_hello())
            await runner.expect(Welcome)
            gateway.say(msgspec.structs.replace(submit(), kind=JobKind.LOAD, keep_alive_s=0.05))
            await gateway.expect(Loaded)
            await runner.expect(Drain)


async def test_scheduler_gives_a_job_on_that_its_runner_did_not_get(
    run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A runner whose process just died: the request goes to the next one, and its gateway notices nothing."""
    caplog.set_level(logging.DEBUG)
    async with scheduler_in(run_dir) as settings:
        with Peer(settings, "gw") as gateway, Peer(settings, "host") as launcher:
            gateway.say(GatewayHello())
            with Peer(settings, "r1") as runner:
                runner.say(msgspec.structs.replace(ready_hello(), plan=plan(n_slots=1000)))
                await runner.expect(Welcome)
                launcher.say(LauncherHello(host=host(), runner_ids=("r1",)))
                await launcher.expect(Welcome)
            n_jobs = 0
            with trio.fail_after(_TIMEOUT_S):
                while "Start to r1 was not delivered" not in caplog.text:  # the socket notices the end a little later
                    n_jobs += 1
                    gateway.say(submit(f"job-{n_jobs}"), b"body")
                    await gateway.expect(Granted)
            launcher.say(RunnerExited(runner_id="r1", exit_code=-9))
            order = await launcher.expect(StartRunner)
            with Peer(settings, order.runner_id) as runner:
                runner.say(msgspec.structs.replace(ready_hello(), plan=order.plan))
                start, payload = await runner.expect_frames(Start)
                assert (start.job_id, start.attempt, payload) == (f"job-{n_jobs}", 1, [b"body"])


async def test_scheduler_tells_the_service_manager_that_it_is_up_and_alive(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY once peers can connect, then a ping several times per watchdog interval."""
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as manager:
        await manager.bind(str(run_dir / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(run_dir / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "150000")
        async with scheduler_in(run_dir):
            with trio.fail_after(_TIMEOUT_S):
                told = [await manager.recv(100) for _ in range(3)]
    assert told == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]


def title_of(pid: int) -> str:
    """Read how a process lists itself."""
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_scheduler_process_ends_cleanly_on_a_signal(run_dir: Path, number: signal.Signals) -> None:
    """Exit status 0, no socket left; its title says what it is."""
    process = await start_process(run_dir)
    with trio.fail_after(_TIMEOUT_S), Peer(settings_in(run_dir), "gw") as gateway:
        gateway.say(GatewayHello())
        await gateway.expect(Welcome)
        if sys.platform == "linux":
            assert title_of(process.pid).startswith("llamactor: scheduler")
        process.send_signal(number)
        assert await process.wait() == 0
    assert process.stderr is not None
    await process.stderr.aclose()
    assert not (run_dir / "scheduler.sock").exists()


@pytest.mark.processes
async def test_scheduler_process_in_a_folder_that_is_taken_says_so_in_one_line(run_dir: Path) -> None:
    """Exit status 1 and the remedy."""
    async with scheduler_in(run_dir):
        process = await start_process(run_dir)
        assert process.stderr is not None
        with trio.fail_after(_TIMEOUT_S):
            told = b"".join([chunk async for chunk in process.stderr])
            assert await process.wait() == 1
    assert told.startswith(b"Error: another llamactor process holds")
    assert told.count(b"\n") == 1
