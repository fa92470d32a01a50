"""TLS: HTTP/2 for clients that speak it, HTTP/1.1 for others, and nothing for those that speak plainly."""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import h2.connection
import h2.events
import httpx
import pytest
import trio

from actors.errors import InvalidRequest
from actors.settings import Settings
from gateway.tls import tls_context
from registry.store import Store
from tests.gateway.conftest import DEADLINE_S, RunningGateway, running_gateway
from tests.support.certificate import write_certificate
from tests.support.stub_backend import StubBackend, StubJob

PROMPT = {"model": "smollm2", "prompt": "x"}


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Files of a certificate and its key."""
    return write_certificate(tmp_path)


@pytest.fixture
async def secure(settings: Settings, store: Store, certificate: tuple[Path, Path]) -> AsyncIterator[RunningGateway]:
    """A gateway that speaks TLS."""
    async with running_gateway(settings, store, tls=tls_context(*certificate)) as gateway:
        yield gateway


@asynccontextmanager
async def _client(
    gateway: RunningGateway, certificate: tuple[Path, Path], *, http2: bool
) -> AsyncIterator[httpx.AsyncClient]:
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    base_url = f"https://localhost:{gateway.port}"
    async with httpx.AsyncClient(
        base_url=base_url, http1=not http2, http2=http2, verify=trust, timeout=DEADLINE_S, trust_env=False
    ) as client:
        yield client


@pytest.mark.parametrize(("http2", "version"), [(True, "HTTP/2"), (False, "HTTP/1.1")])
async def test_requests_and_streams_run_over_tls(
    secure: RunningGateway, certificate: tuple[Path, Path], *, http2: bool, version: str
) -> None:
    """Several requests share one connection, whichever protocol was agreed on."""
    async with _client(secure, certificate, http2=http2) as client:
        whole = await client.get("/api/version")
        streamed = await client.post("/api/generate", json=PROMPT)
    assert (whole.status_code, whole.http_version) == (200, version)
    assert '"done":true' in streamed.text
    await secure.wait_for_connections(0)


async def test_client_of_http_2_that_leaves_cancels_its_job(
    secure: RunningGateway, backend: StubBackend, certificate: tuple[Path, Path]
) -> None:
    """A stream that is reset in the middle of its answer frees the slot; the connection goes on."""

    async def never_end(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))
        await trio.sleep_forever()

    backend.plan = never_end
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    trust.set_alpn_protocols(["h2"])
    async with trio.SSLStream(await secure.connect(), trust, server_hostname="localhost") as stream:
        client = h2.connection.H2Connection()
        client.initiate_connection()
        head = {":method": "POST", ":scheme": "https", ":authority": "localhost", ":path": "/api/generate"}
        client.send_headers(1, list(head.items()))
        client.send_data(1, json.dumps(PROMPT).encode(), end_stream=True)
        await stream.send_all(client.data_to_send())
        events: list[h2.events.Event] = []
        while not any(isinstance(event, h2.events.DataReceived) for event in events):
            events = client.receive_data(await stream.receive_some())
        client.reset_stream(1)
        await stream.send_all(client.data_to_send())
        assert await backend.cancelled.wait_for(1) == backend.submitted.items[0].job_id
        assert secure.server.n_connections == 1


async def test_refused_upload_over_http_2_leaves_the_connection_whole(
    secure: RunningGateway, certificate: tuple[Path, Path]
) -> None:
    """What still comes of a body after its answer is dropped."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 100_000

    async with _client(secure, certificate, http2=True) as client:
        refused = await client.post("/api/chat", content=endless())
        assert refused.status_code == 413
        assert (await client.get("/api/version")).status_code == 200
    assert secure.server.n_connections <= 1


async def test_client_that_speaks_plainly_is_hung_up_on(secure: RunningGateway) -> None:
    """A request without TLS is no handshake."""
    async with await secure.connect() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
    await secure.wait_for_connections(0)


def test_tls_is_set_up_from_both_files_or_neither(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """One alone, a missing one, or two that do not belong together stop the server from starting."""
    cert, key = certificate
    (tmp_path / "other").mkdir()
    _, other_key = write_certificate(tmp_path / "other")
    assert tls_context(None, None) is None
    for wrong in ((cert, None), (None, key), (cert, tmp_path / "none"), (cert, other_key)):
        with pytest.raises(InvalidRequest, match="LLAMACTOR_TLS"):
            tls_context(*wrong)
