"""`python -m gateway` as a real process."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from actors.listener import LISTEN_FD, listen
from registry.store import Store
from tests.support.stub_backend import StubBackend, StubJob, paused

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0


@contextmanager
def _listener() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0) as listener:
        yield listener


@asynccontextmanager
async def _running(
    backend: StubBackend, store: Store, listener: socket.socket, **environ: str
) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """Run a gateway on an inherited socket until the end of the block; wait until it is ready."""
    address = str(backend.run_dir / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(address)
        process = subprocess.Popen(  # noqa: ASYNC220  # trio's own children die with their starting thread
            [sys.executable, "-m", "gateway"],
            cwd=ROOT,
            env={**_environ(backend, store), "NOTIFY_SOCKET": address, LISTEN_FD: str(listener.fileno()), **environ},
            pass_fds=(listener.fileno(),),
        )
        try:
            with trio.fail_after(DEADLINE_S):
                while b"READY=1" not in await trio.to_thread.run_sync(notifications.recv, 4096):
                    pass
                yield process
        finally:
            process.kill()
            process.wait()


def _environ(backend: StubBackend, store: Store) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LLAMACTOR_RUN_DIR": str(backend.run_dir),
        "LLAMACTOR_SCHEDULER": backend.endpoint,
        "OLLAMA_MODELS": str(store.root),
    }


async def test_gateway_on_an_inherited_socket_answers_and_drains(backend: StubBackend, store: Store) -> None:
    """A worker serves the socket it is given; SIGTERM lets its stream end, then it exits with 0."""
    resume = trio.Event()
    backend.plan = paused(resume)
    with _listener() as listener:
        async with _running(backend, store, listener) as process, httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/generate"
            async with client.stream("POST", url, json={"model": "smollm2", "prompt": "x"}) as response:
                lines = response.aiter_lines()
                assert '"response":"a"' in await anext(lines)
                process.send_signal(signal.SIGTERM)
                resume.set()
                rest = [line async for line in lines]
            assert '"done":true' in rest[-1]
            assert await trio.to_thread.run_sync(process.wait) == 0


async def test_gateway_with_a_second_signal_ends_at_once(backend: StubBackend, store: Store) -> None:
    """Who asks twice does not want to wait for the streams."""

    async def never_end(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))

    backend.plan = never_end
    with _listener() as listener:
        async with _running(backend, store, listener) as process, httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/generate"
            async with client.stream("POST", url, json={"model": "smollm2", "prompt": "x"}) as response:
                lines = response.aiter_lines()
                await anext(lines)
                process.send_signal(signal.SIGTERM)
                await _wait_refused(listener)
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(httpx.TransportError):  # a last line may or may not find its way
                    assert all(['"error"' in line async for line in lines])
            assert await trio.to_thread.run_sync(process.wait) == 0
    assert await backend.cancelled.wait_for(1)


async def _wait_refused(listener: socket.socket) -> None:
    """Wait until the gateway has begun to drain: with our copy closed too, nobody listens any more."""
    address = listener.getsockname()
    listener.close()
    while True:
        try:
            (await trio.open_tcp_stream(*address)).socket.close()
        except OSError:
            return
        await trio.sleep(0.01)


def test_gateway_with_its_port_in_use_says_so(store: Store, run_dir: Path) -> None:
    """One line names the address, the exit status is 1."""
    with _listener() as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        environ = {"PATH": os.environ["PATH"], "OLLAMA_HOST": host, "LLAMACTOR_RUN_DIR": str(run_dir)}
        ended = subprocess.run(
            [sys.executable, "-m", "gateway"],
            cwd=ROOT,
            env={**environ, "OLLAMA_MODELS": str(store.root)},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == f"Error: listen tcp {host}: bind: address already in use\n"
    assert ended.stdout == ""


def test_gateway_imports_nothing_heavy() -> None:
    """The worker stays small: no numerics, no llama.cpp, no test or client libraries."""
    program = (
        "import sys, gateway.__main__; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'numpy', 'gguf', 'llama_cpp', 'httpx', 'pynvml'}))"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "\n"
