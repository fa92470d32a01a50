"""`serve` as a real process over stub parts: readiness, restarts, the order of the end, and death."""

import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from actors.errors import StoreUnwritable
from actors.listener import listen
from actors.process import Child, python_program
from actors.supervisor import check_store, sweep
from tests.support.mailbox import TIMEOUT_S, Mailbox
from tests.support.process_tree import find

pytestmark = pytest.mark.usefixtures("no_leak")
PARTS = {"gateway", "launcher", "scheduler"}


@dataclass(frozen=True)
class Serving:
    """A `serve` process, and what its parts and itself tell."""

    child: Child
    events: Mailbox
    notices: Mailbox
    run_dir: Path
    port: int

    async def started(self) -> dict[str, int]:
        """Wait until all three parts have started and `serve` is ready; give their pids."""
        pids: dict[str, int] = {}
        while set(pids) != PARTS:
            name, event, pid = (await self.events.next()).split()
            assert event == "started"
            pids[name] = int(pid)
        await self.notices.expect("READY=1")
        return pids

    async def ask(self) -> bytes:
        """Connect as a client does and give the answer."""
        with trio.fail_after(TIMEOUT_S):
            async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
                return b"".join([chunk async for chunk in stream])

    async def wait(self) -> int:
        """Wait for the end and give the exit status."""
        with trio.fail_after(TIMEOUT_S):
            return await self.child.wait()


def free_port() -> int:
    """Give a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def serving(folder: Path, **environ: str) -> AsyncIterator[Serving]:
    """Start `serve` with stub parts; keyword arguments are environment variables."""
    port = free_port()
    with Mailbox(folder / "events") as events, Mailbox(folder / "notices") as notices:
        settings = {
            "OLLAMA_HOST": f"127.0.0.1:{port}",
            "OLLAMA_MODELS": str(folder / "models"),
            "LLAMACTOR_RUN_DIR": str(folder / "run"),
            "LLAMACTOR_SCHEDULER": "",
            "STUB_EVENTS": str(events.path),
            "NOTIFY_SOCKET": str(notices.path),
            **environ,
        }
        child = Child(python_program("tests.support.stub_serve", environ=settings))
        try:
            yield Serving(child, events, notices, folder / "run", port)
        finally:
            child.kill()
            with trio.CancelScope(shield=True):
                await child.wait()


async def test_serve_says_ready_when_all_parts_are(run_dir: Path) -> None:
    """READY=1 comes after every part has reported, and a client reaches the gateway through the inherited socket."""
    async with serving(run_dir) as server:
        pids = await server.started()
        assert await server.ask() == str(pids["gateway"]).encode()
        assert len(find(server.child.pid, "stub ")) == 3
        assert server.run_dir.stat().st_mode & 0o777 == 0o700


async def test_serve_with_two_workers_shares_one_socket(run_dir: Path) -> None:
    """Each worker is a part of its own."""
    async with serving(run_dir, LLAMACTOR_GATEWAY_WORKERS="2") as server:
        names = {(await server.events.next()).split()[0] for _ in range(4)}
        assert names == {"gateway-0", "gateway-1", "launcher", "scheduler"}


@pytest.mark.parametrize("part", sorted(PARTS))
async def test_serve_restarts_a_killed_part_and_leaves_the_others(run_dir: Path, part: str) -> None:
    """Only what died is started again."""
    async with serving(run_dir) as server:
        pids = await server.started()
        os.kill(pids[part], signal.SIGKILL)
        assert int(await server.events.expect(f"{part} started")) != pids[part]
        others = {pid for name, pid in pids.items() if name != part}
        assert others < set(find(server.child.pid, "stub "))


async def test_serve_keeps_the_port_while_the_gateway_is_down(run_dir: Path) -> None:
    """A client that comes between two lives of the gateway waits, and is answered by the second."""
    async with serving(run_dir) as server:
        pids = await server.started()
        os.kill(pids["gateway"], signal.SIGKILL)
        answer = await server.ask()
        assert answer == (await server.events.expect("gateway started")).encode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_serve_stops_gateway_then_launcher_then_scheduler(run_dir: Path, number: signal.Signals) -> None:
    """Each part is told only when the one before has ended; status 0, and nothing stays in the file system."""
    async with serving(run_dir) as server:
        pids = await server.started()
        os.kill(server.child.pid, number)
        for part in ("gateway", "launcher", "scheduler"):
            assert await server.events.next() == f"{part} terminated {pids[part]}"
        assert await server.wait() == 0
        assert not server.run_dir.exists()


async def test_ctrl_c_reaches_serve_alone(run_dir: Path) -> None:
    """The terminal interrupts a whole group; the parts are in groups of their own, or their order would be lost."""
    async with serving(run_dir) as server:
        pids = await server.started()
        os.killpg(server.child.pid, signal.SIGINT)
        assert await server.events.next() == f"gateway terminated {pids['gateway']}"
        assert await server.wait() == 0


async def test_second_signal_kills_at_once(run_dir: Path) -> None:
    """A gateway that does not end is waited for, until the user asks again."""
    async with serving(run_dir, STUB_IGNORE="gateway", LLAMACTOR_DRAIN_TIMEOUT="1h") as server:
        await server.started()
        server.child.terminate()
        await server.events.expect("gateway terminated")
        server.child.terminate()
        assert await server.wait() == 0


async def test_serve_stops_while_a_part_fails_at_start(run_dir: Path) -> None:
    """A part between two attempts is no obstacle to the end."""
    async with serving(run_dir, STUB_FAIL="launcher") as server:
        names = {(await server.events.next()).split()[0] for _ in range(2)}
        assert names == {"gateway", "scheduler"}
        server.child.terminate()
        assert await server.wait() == 0


async def test_killed_serve_leaves_nothing(run_dir: Path) -> None:
    """The parts die with it, those too that ignore signals; the leak check looks for them."""
    async with serving(run_dir, STUB_IGNORE="gateway,launcher,scheduler") as server:
        await server.started()
        server.child.kill()
        assert await server.wait() == -signal.SIGKILL


async def test_serve_after_a_killed_one_works_in_the_same_folder(run_dir: Path) -> None:
    """What a killed `serve` left in the run folder is in nobody's way."""
    async with serving(run_dir) as server:
        await server.started()
        server.child.kill()
        await server.wait()
        assert (server.run_dir / "notify-gateway.sock").exists()
    for name in ("events", "notices"):
        (run_dir / name).unlink()
    async with serving(run_dir) as server:
        await server.started()


async def test_second_serve_in_a_run_folder_is_refused(run_dir: Path) -> None:
    """Another port does not help: the sockets would be stolen."""
    async with serving(run_dir) as server:
        await server.started()
        environ = {
            "OLLAMA_HOST": f"127.0.0.1:{free_port()}",
            "OLLAMA_MODELS": str(run_dir / "models"),
            "LLAMACTOR_RUN_DIR": str(server.run_dir),
        }
        second = Child(python_program("tests.support.stub_serve", environ=environ))
        assert await second.wait() == 1
        assert await server.ask()


async def test_serve_with_port_in_use_ends_with_status_1(run_dir: Path) -> None:
    """Nothing was started or made then."""
    with listen("127.0.0.1", 0) as holder:
        async with serving(run_dir, OLLAMA_HOST=f"127.0.0.1:{holder.getsockname()[1]}") as server:
            assert await server.wait() == 1
    assert not (run_dir / "run").exists()


def test_check_store_makes_the_folder(tmp_path: Path) -> None:
    """A first start needs no preparation."""
    check_store(tmp_path / "a" / "models")
    assert list((tmp_path / "a" / "models").iterdir()) == []


def test_check_store_under_a_file_names_the_variable(tmp_path: Path) -> None:
    """The error says what to change."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnwritable, match="OLLAMA_MODELS"):
        check_store(tmp_path / "file" / "models")


def test_sweep_leaves_what_is_not_ours(tmp_path: Path) -> None:
    """A run folder that the user chose may hold other things."""
    for name in ("serve.lock", "renderer.sock", "1.pid", "diary.txt"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]
