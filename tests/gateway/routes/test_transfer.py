"""Pulling and pushing over HTTP: streams, whole answers, clients that share a download and clients that leave."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.settings import Settings
from registry.manifests import WEIGHTS
from registry.store import Store
from tests.gateway.conftest import DEADLINE_S, RunningGateway, running_gateway
from tests.support.wild_registry import WildRegistry, slowly, wild_registry

MEBI = 1 << 20
_COMPLETED = re.compile(rb'"completed":(\d+)')
SIZE_BYTES = 18 * MEBI


@pytest.fixture
def remote() -> Iterator[WildRegistry]:
    """A registry with one model of 18 MiB."""
    with wild_registry() as registry:
        content = random.Random(1).randbytes(SIZE_BYTES)  # noqa: S311 - noise, not a secret
        registry.add_model("ns/m:latest", (WEIGHTS, content))
        yield registry


async def _lines(gateway: RunningGateway, path: str, body: Any) -> list[dict[str, Any]]:
    response = await gateway.post(path, body)
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


async def test_pull_streams_progress_and_installs(gateway: RunningGateway, store: Store, remote: WildRegistry) -> None:
    """Lines are those that clients know, the last one is `success`."""
    lines = await _lines(gateway, "/api/pull", {"model": f"{remote.host}/ns/m", "insecure": True})
    assert lines[0] == {"status": "pulling manifest"}
    assert lines[-1] == {"status": "success"}
    counted = [line for line in lines if line.get("total") == SIZE_BYTES]
    assert counted[-1]["completed"] == SIZE_BYTES
    assert counted[-1]["status"] == f"pulling {counted[-1]['digest'][7:19]}"
    assert store.resolve(f"{remote.host}/ns/m").size_bytes > SIZE_BYTES


async def test_pull_whole_gives_the_last_line(gateway: RunningGateway, remote: WildRegistry) -> None:
    """Success as one object; failure with a status of its own."""
    response = await gateway.post("/api/pull", {"model": f"{remote.host}/ns/m", "insecure": True, "stream": False})
    assert (response.status_code, response.json()) == (200, {"status": "success"})
    response = await gateway.post("/api/pull", {"model": f"{remote.host}/ns/no", "insecure": True, "stream": False})
    assert response.status_code == 404
    assert response.json() == {"error": "pull model manifest: file does not exist"}


async def test_pull_in_two_workers_is_one_download(
    gateway: RunningGateway, settings: Settings, store: Store, remote: WildRegistry
) -> None:
    """Both clients see progress, and every byte comes once."""
    remote.misbehave = slowly(8 * MEBI)
    results: list[list[dict[str, Any]]] = []

    async def pull_at(where: RunningGateway) -> None:
        results.append(await _lines(where, "/api/pull", {"model": f"{remote.host}/ns/m", "insecure": True}))

    async with running_gateway(settings, store) as other, trio.open_nursery() as nursery:
        nursery.start_soon(pull_at, gateway)
        nursery.start_soon(pull_at, other)
    for lines in results:
        assert lines[-1] == {"status": "success"}
        assert len({line.get("completed") for line in lines if line.get("total") == SIZE_BYTES}) > 3
    assert sum(length for path, _, length in remote.sent if length >= MEBI) == SIZE_BYTES


async def _pull_until(gateway: RunningGateway, host: str, n_bytes: int) -> trio.SocketStream:
    """Begin a pull over a connection of its own, and give that once so much has come."""
    body = json.dumps({"model": f"{host}/ns/m", "insecure": True}).encode()
    stream = await gateway.send_raw("POST", "/api/pull", body)
    await _read_until(stream, n_bytes)
    return stream


async def _read_until(stream: trio.SocketStream, n_bytes: int) -> None:
    seen = b""
    with trio.fail_after(DEADLINE_S):
        while not any(int(found) > n_bytes for found in _COMPLETED.findall(seen)):
            seen = seen[-200:] + await stream.receive_some()


async def test_client_that_leaves_does_not_stop_the_other(
    gateway: RunningGateway, settings: Settings, store: Store, remote: WildRegistry
) -> None:
    """Whoever follows takes over where the first one was."""
    remote.misbehave = slowly(4 * MEBI)
    async with running_gateway(settings, store) as other:
        first = await _pull_until(gateway, remote.host, 0)
        second = await _pull_until(other, remote.host, MEBI)
        remote.misbehave = slowly(64 * MEBI)
        await first.aclose()
        await _read_until(second, SIZE_BYTES - 1)
        await second.aclose()
    assert sum(length for _, _, length in remote.sent) < SIZE_BYTES + 6 * MEBI


async def test_client_that_leaves_alone_stops_the_download(gateway: RunningGateway, remote: WildRegistry) -> None:
    """The lock is free again, and what has come is there for the next one."""
    remote.misbehave = slowly(4 * MEBI)
    stream = await _pull_until(gateway, remote.host, MEBI)
    await stream.aclose()
    remote.misbehave = None
    with trio.fail_after(DEADLINE_S):
        lines = await _lines(gateway, "/api/pull", {"model": f"{remote.host}/ns/m", "insecure": True})
    assert lines[-1] == {"status": "success"}
    assert next(line["completed"] for line in lines if line.get("total") == SIZE_BYTES) > MEBI


async def test_pull_that_waits_for_a_silent_registry_ends_with_its_client(gateway: RunningGateway) -> None:
    """A connection on which nothing ever comes is cut when the client leaves, not after its deadline."""
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener[0].socket.getsockname()[1]
    with trio.fail_after(DEADLINE_S):
        stream = await gateway.send_raw(
            "POST", "/api/pull", json.dumps({"model": f"127.0.0.1:{port}/a/b", "insecure": True}).encode()
        )
        async with await listener[0].accept() as asked:
            await asked.receive_some()
            await stream.aclose()
            assert await asked.receive_some() == b""
            await gateway.wait_for_connections(0)
    await listener[0].aclose()


async def test_pull_of_a_local_file_is_for_loopback_servers(
    gateway: RunningGateway, store: Store, tiny_gguf: Path
) -> None:
    """Here it is allowed; the model is named as asked."""
    lines = await _lines(gateway, "/api/pull", {"model": str(tiny_gguf), "as": "mine:v1"})
    assert lines[-1] == {"status": "success"}
    assert store.resolve("mine:v1")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"model": ""}, 400, "invalid model name"),
        ({"model": "/etc/passwd"}, 400, "invalid model name"),
        ({"model": "a\x00b"}, 400, "invalid model name"),
        ({"model": "x", "as": "y"}, 400, "a model of a registry keeps its name: pull it, then copy it"),
        ({"model": "x", "max_rate": -1}, 400, None),
        ({"model": "x", "max_rate": "fast"}, 400, None),
        ({"model": "x", "insecure": "yes"}, 400, None),
        ({"model": "169.254.169.254/latest/meta-data", "insecure": True, "stream": False}, 400, None),
        ({"model": "host:99999999/a/b", "insecure": True, "stream": False}, 500, None),
    ],
)
async def test_bad_pull_is_refused(
    body: dict[str, Any], status: int, error: str | None, gateway: RunningGateway
) -> None:
    """Each with a text that tells what is wrong."""
    response = await gateway.post("/api/pull", body)
    assert response.status_code == status
    assert response.json()["error"]
    assert error is None or response.json()["error"] == error


async def test_push_of_what_is_missing_is_refused(gateway: RunningGateway) -> None:
    """Streams tell it in their last line, whole answers by their status."""
    lines = await _lines(gateway, "/api/push", {"model": "nope"})
    assert [line.get("status") for line in lines[:2]] == ["retrieving manifest", "couldn't retrieve manifest"]
    assert lines[-1] == {"error": "model 'nope:latest' not found"}
    response = await gateway.post("/api/push", {"model": "nope", "stream": False})
    assert response.status_code == 404
