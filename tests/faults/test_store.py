"""Damage in the store: one clear error for what it concerns, everything else goes on."""

import hashlib
from pathlib import Path

import pytest
import trio

from registry.store import Store
from tests.faults.exchange import answer
from tests.faults.prompts import GREETING, NATIVE, greeting
from tests.support.server import Place, RunningServer, eventually, running_server

pytestmark = pytest.mark.processes


def _weights(place: Place, name: str) -> Path:
    return Store(place.models).resolve(name).weights_path


async def _names(server: RunningServer) -> set[str]:
    status, reply = await answer(server.port, "/api/tags")
    assert status == 200
    return {model["name"] for model in reply["models"]}


async def _check_tiny_answers(server: RunningServer) -> None:
    status, reply = await answer(server.port, NATIVE, greeting())
    assert (status, reply["response"]) == (200, GREETING)


@pytest.mark.parametrize("part", [0.0, 0.0001, 0.01, 0.5, 0.999])
async def test_gguf_that_is_cut_is_refused_by_name(two_models: Place, part: float) -> None:
    """No runner is started for it, and the other model answers."""
    with running_server(two_models) as server:
        weights = _weights(two_models, "twin")
        content = weights.read_bytes()
        weights.write_bytes(content[: int(len(content) * part)])
        status, reply = await answer(server.port, NATIVE, greeting(model="twin"))
        assert status in {400, 500}
        assert reply["error"]
        assert not server.pids("runner twin")
        await _check_tiny_answers(server)
        assert await _names(server) == {"tiny:latest", "twin:latest"}


async def test_missing_weights_are_told(two_models: Place) -> None:
    """A blob that vanished is named, and the other model answers."""
    with running_server(two_models) as server:
        _weights(two_models, "twin").unlink()
        status, reply = await answer(server.port, NATIVE, greeting(model="twin"))
        assert status == 500
        assert "twin" in reply["error"]
        await _check_tiny_answers(server)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"layers": 5}', b"\xff\xfe"])
async def test_damaged_manifest_is_listed_around(two_models: Place, content: bytes) -> None:
    """The others are listed and served; the damaged one answers an error and can be deleted."""
    with running_server(two_models) as server:
        manifest = two_models.models / "manifests/registry.ollama.ai/library/twin/latest"
        manifest.write_bytes(content)
        assert await _names(server) == {"tiny:latest"}
        status, reply = await answer(server.port, NATIVE, greeting(model="twin"))
        assert status == 500
        assert reply["error"]
        await _check_tiny_answers(server)


async def test_store_that_cannot_be_written_refuses_uploads(server: RunningServer) -> None:
    """An upload says what is wrong, and works when that is mended; what is loaded answers all the while."""
    await _check_tiny_answers(server)
    blobs = server.place.models / "blobs"
    blobs.rename(blobs.with_name("aside"))
    blobs.touch()
    path = f"/api/blobs/sha256:{hashlib.sha256(b'{}').hexdigest()}"
    status, reply = await answer(server.port, path, {})
    assert status == 500
    assert reply["error"].startswith(f"cannot write to the model store at {blobs}")
    blobs.unlink()
    blobs.with_name("aside").rename(blobs)
    assert await answer(server.port, path, {}) == (201, None)
    await _check_tiny_answers(server)


async def test_upload_that_breaks_off_leaves_nothing(server: RunningServer) -> None:
    """A client that goes away in the middle of a blob leaves no part of it."""
    blobs = server.place.models / "blobs"
    before = set(blobs.iterdir())
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with stream:
        head = f"POST /api/blobs/sha256:{'0' * 64} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n"
        await stream.send_all(head.encode() + b"x" * 2_000_000)
        await eventually(lambda: set(blobs.iterdir()) - before or None)
    await eventually(lambda: True if set(blobs.iterdir()) == before else None)


async def test_upload_with_the_wrong_digest_leaves_nothing(server: RunningServer) -> None:
    """The bytes are refused with the digest that they have."""
    blobs = server.place.models / "blobs"
    before = set(blobs.iterdir())
    status, reply = await answer(server.port, f"/api/blobs/sha256:{'0' * 64}", {})
    assert status == 400
    assert reply["error"].startswith("digest mismatch")
    assert set(blobs.iterdir()) == before
