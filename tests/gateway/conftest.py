"""Fixtures of the gateway's tests: a store with the tiny model, a gateway on a port of its own, a stub behind it."""

import os
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from actors.listener import listen
from actors.settings import Settings
from gateway.app import create_app
from gateway.connection_stream import WRITE_DEADLINE_S
from gateway.jobs import Jobs
from gateway.models import Models
from gateway.server import IDLE_CONNECTION_S, MAX_CONNECTIONS, Server
from gateway.worker import Worker
from registry.store import Store
from tests.gateway.stub_models import install, write_chat_gguf, write_embedding_gguf
from tests.support.stub_backend import StubBackend, running_backend

DEADLINE_S = 60.0


@dataclass(slots=True)
class RunningGateway:
    """A gateway in this process, with what a test needs to talk to it."""

    port: int
    server: Server
    jobs: Jobs
    client: httpx.AsyncClient
    nursery: trio.Nursery

    async def post(self, path: str, body: Any, **kwargs: Any) -> httpx.Response:
        """Send a JSON request and read the whole answer."""
        return await self.client.post(path, json=body, **kwargs)

    async def connect(self) -> trio.SocketStream:
        """Open a raw connection."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def wait_for_connections(self, count: int) -> None:
        """Wait until so many connections are open."""
        while self.server.n_connections != count:  # noqa: ASYNC110  # the server has no event for it, and needs none
            await trio.sleep(0.005)

    async def send_raw(self, method: str, path: str, body: bytes = b"", *headers: str) -> trio.SocketStream:
        """Open a raw connection and send one HTTP/1.1 request over it."""
        stream = await self.connect()
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
        await stream.send_all("\r\n".join(head).encode() + body)
        return stream


@pytest.fixture(scope="session")
def filled_models(tmp_path_factory: pytest.TempPathFactory, tiny_gguf: Path) -> Path:
    """The folder of a store that nobody changes, to be linked from."""
    folder = tmp_path_factory.mktemp("gateway")
    store = Store(folder / "models")
    write_chat_gguf(folder / "chat.gguf")
    write_embedding_gguf(folder / "embedding.gguf")
    install(store, "smollm2", folder / "chat.gguf")
    install(store, "tiny-tools", tiny_gguf)
    install(store, "minilm", folder / "embedding.gguf")
    return store.root


@pytest.fixture
def store(tmp_path: Path, filled_models: Path) -> Store:
    """A store with `smollm2` (plain chat), `tiny-tools` (thinks, has tools) and `minilm` (embeds)."""
    root = tmp_path / "models"
    shutil.copytree(filled_models, root, copy_function=os.link)
    return Store(root)


@pytest.fixture
async def backend(run_dir: Path) -> AsyncIterator[StubBackend]:
    """A scheduler and runner that answer from a script."""
    async with running_backend(run_dir) as backend:
        yield backend


@asynccontextmanager
async def running_gateway(
    settings: Settings,
    store: Store,
    *,
    write_deadline_s: float = WRITE_DEADLINE_S,
    max_connections: int = MAX_CONNECTIONS,
    idle_connection_s: float = IDLE_CONNECTION_S,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[RunningGateway]:
    """Run a gateway for the time of a block."""
    listener = listen(settings.host, settings.port)
    jobs = Jobs(settings.scheduler_endpoint)
    servers: list[Server] = []
    worker = Worker(
        settings=settings,
        jobs=jobs,
        models=Models(store),
        is_draining=lambda: any(each.is_draining for each in servers),
    )
    server = Server(
        create_app(worker),
        drain_timeout_s=settings.drain_timeout_s,
        write_deadline_s=write_deadline_s,
        max_connections=max_connections,
        idle_connection_s=idle_connection_s,
        tls=tls,
        on_overtime=jobs.end_all,
    )
    servers.append(server)
    port = listener.getsockname()[1]
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S) as client,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(jobs.run)
        await nursery.start(server.run, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])
        yield RunningGateway(port, server, jobs, client, nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
def settings(backend: StubBackend, store: Store) -> Settings:
    """Settings that lead to the stub and the test's store, on a port that the system chooses."""
    return Settings(
        port=0,
        run_dir=backend.run_dir,
        scheduler_endpoint=backend.endpoint,
        models=store.root,
        drain_timeout_s=2.0,
        max_body_bytes=1 << 20,
    )


@pytest.fixture
async def gateway(settings: Settings, store: Store) -> AsyncIterator[RunningGateway]:
    """A gateway before the stub."""
    async with running_gateway(settings, store) as gateway:
        yield gateway
