"""The whole system as real processes: `actorctl serve` on a free port, with a folder of its own for all it keeps.

The server says when it is ready, as it would say to systemd, so no test guesses or sleeps. When a server ends, nothing
of it may be left: no process (orphans included), no bound socket, no listening port and, unless it was killed, no run
folder. Its log goes to a file, which is shown with the test that fails.
"""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import trio

from actors.pidfd import ProcessRef
from registry.create import CreateRequest, create
from registry.store import Store
from tests.support.process_tree import descendants, find, no_process_left, title_of

DEADLINE_S = 60.0
"""Bound of every wait; the machine may be busy with other things, so nothing is learnt from how long one takes."""

DRAIN_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.02
_ROOT = Path(__file__).parents[2]
_OURS = ("OLLAMA_", "LLAMACTOR_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY")
_LISTENING = re.compile(r"Listening on 127\.0\.0\.1:(\d+)")
_NAME_IN_TINY = b"tiny-chatml-tools"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one server."""

    folder: Path

    @property
    def run_dir(self) -> Path:
        """Where its sockets and locks go; made and removed by the server."""
        return self.folder / "run"

    @property
    def models(self) -> Path:
        """Its store."""
        return self.folder / "models"

    @property
    def log_path(self) -> Path:
        """What it writes to standard error, over all of its lives."""
        return self.folder / "serve.log"

    def environ(self, **changes: str) -> dict[str, str]:
        """Give the environment of a server here: ours without what concerns servers, and the changes."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return inherited | {
            "PYTHONPATH": str(_ROOT),
            "LLAMACTOR_RUN_DIR": str(self.run_dir),
            "LLAMACTOR_DRAIN_TIMEOUT": f"{DRAIN_TIMEOUT_S:g}s",
            "OLLAMA_HOST": "127.0.0.1:0",
            "OLLAMA_MODELS": str(self.models),
            "LLAMACTOR_KV_DIR": str(self.models.parent / "kv"),
            "OMP_WAIT_POLICY": "passive",  # decoding threads that spin for each other crawl on a busy machine
            **changes,
        }

    def install(self, name: str, weights: Path) -> None:
        """Put a model into the store, the way `create` does."""
        store = Store(self.models)
        request = CreateRequest(model=name, files={"model.gguf": store.blobs.add_file(weights)})
        for _ in create(store, request):
            pass

    def install_twin(self, name: str, tiny_gguf: Path) -> None:
        """Put a model into the store that equals the tiny one in all but its digest, so that both can be loaded."""
        content = tiny_gguf.read_bytes()
        assert _NAME_IN_TINY in content
        twin = self.folder / "twin.gguf"
        twin.write_bytes(content.replace(_NAME_IN_TINY, _NAME_IN_TINY[::-1], 1))
        self.install(name, twin)
        twin.unlink()


def run_serve(place: Place, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a server that is expected to end by itself, and give its output."""
    with no_process_left():
        return subprocess.run(
            _command(),
            env=place.environ(**environ),
            cwd=place.folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )


@contextlib.contextmanager
def running_server(place: Place, **environ: str) -> Iterator["RunningServer"]:
    """Run a server for the time of a block; keyword arguments are environment variables.

    At the end it is stopped by SIGTERM unless the test has ended it, and must leave nothing behind.
    """
    with no_process_left(), _notifications(place.folder / "notify.sock") as notifications:
        server = RunningServer(place, notifications, environ)
        try:
            server.wait_ready()
            yield server
        finally:
            server.finish()
            sys.stderr.write(place.log_path.read_text(encoding="utf-8"))
    _check_nothing_bound(place.run_dir, server.port)


class RunningServer:
    """One life of a server."""

    def __init__(self, place: Place, notifications: socket.socket, environ: dict[str, str]) -> None:
        """Start it."""
        self.place = place
        self.port = 0
        self._notifications = notifications
        self._heard: set[str] = set()
        self._log_start = place.log_path.stat().st_size if place.log_path.exists() else 0
        with place.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                _command(),
                env=place.environ(**environ) | {"NOTIFY_SOCKET": str(notifications.getsockname())},
                cwd=place.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = self._process.pid

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged in this life."""
        return self.place.log_path.read_bytes()[self._log_start :].decode()

    @property
    def exit_status(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def titles(self) -> dict[int, str]:
        """The titles of its living processes below `serve`, by pid."""
        return {pid: title_of(pid) for pid in descendants(self.pid)}

    def pids(self, title: str) -> list[int]:
        """Give its processes whose title begins so."""
        return find(self.pid, title)

    def pid_of(self, title: str) -> int:
        """Give its one process whose title begins so."""
        (pid,) = self.pids(title)
        return pid

    def send(self, number: signal.Signals) -> None:
        """Send `serve` itself a signal."""
        self._process.send_signal(number)

    def kill(self, title: str) -> int:
        """Kill its one process whose title begins so, and give the pid it had."""
        pid = self.pid_of(title)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_ready(self) -> None:
        """Wait until every part is ready."""
        exited = os.pidfd_open(self.pid)
        try:
            while "READY=1" not in self._heard:
                ready, _, _ = select.select([self._notifications.fileno(), exited], [], [], DEADLINE_S)
                assert exited not in ready, f"serve ended with status {self._process.wait()}:\n{self.log}"
                assert ready, f"serve was not ready after {DEADLINE_S:g} s:\n{self.log}"
                self._hear()
        finally:
            os.close(exited)
        found = _LISTENING.search(self.log)
        assert found is not None
        self.port = int(found[1])

    async def wait_stopping(self) -> None:
        """Wait until `serve` has understood that it is to stop."""
        with trio.fail_after(DEADLINE_S):
            while "STOPPING=1" not in self._heard:
                await trio.lowlevel.wait_readable(self._notifications)
                self._hear()

    async def wait_exit(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for the end of `serve` and give its exit status."""
        with trio.fail_after(deadline_s):
            await wait_ended(self.pid)
        return self._process.wait()

    async def wait_for(self, title: str, *, other_than: int = 0) -> int:
        """Wait until there is a process whose title begins so, and give its pid."""
        return await eventually(lambda: next((pid for pid in self.pids(title) if pid != other_than), None))

    def finish(self) -> None:
        """Stop it if it runs; it must then end well and remove its run folder."""
        if self._process.poll() is not None:
            return
        self.send(signal.SIGTERM)
        try:
            status = self._process.wait(DRAIN_TIMEOUT_S + DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        assert status == 0, f"serve ended with status {status}"
        assert not self.place.run_dir.exists()

    def _hear(self) -> None:
        self._heard |= set(self._notifications.recv(4096).decode().splitlines())


async def eventually(look: Callable[[], T | None]) -> T:
    """Look again and again, for what nothing announces, until there is something; give it."""
    with trio.fail_after(DEADLINE_S):
        while (found := look()) is None:  # noqa: ASYNC110 - no event to wait for, as the name says
            await trio.sleep(_LOOK_EVERY_S)
    return found


async def eventually_answered(ask: Callable[[], Awaitable[T | None]]) -> T:
    """Do the same with a question that takes a while."""
    with trio.fail_after(DEADLINE_S):
        while (found := await ask()) is None:  # noqa: ASYNC110 - the same
            await trio.sleep(_LOOK_EVERY_S)
    return found


async def wait_ended(*pids: int) -> None:
    """Wait until these processes have ended."""
    with trio.fail_after(DEADLINE_S):
        for pid in pids:
            try:
                ref = ProcessRef(pid)
            except ProcessLookupError:
                continue
            with contextlib.closing(ref):
                await ref.wait()


def _command() -> list[str]:
    return [sys.executable, "-m", "gateway.cli", "serve"]


@contextlib.contextmanager
def _notifications(path: Path) -> Iterator[socket.socket]:
    """Listen like a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        try:
            yield receiver
        finally:
            path.unlink()


def _check_nothing_bound(run_dir: Path, port: int) -> None:
    bound = [line for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines() if f" {run_dir}/" in line]
    assert not bound, f"sockets left behind: {bound}"
    if port:
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) != 0, f"something still listens on port {port}"
