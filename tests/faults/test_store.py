"""Damage in the store: one clear error for what it concerns, everything else goes on."""

from pathlib import Path

import pytest

from registry.store import Store
from tests.faults.exchange import answer
from tests.faults.prompts import GREETING, NATIVE, greeting
from tests.support.server import Place, RunningServer, running_server


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
