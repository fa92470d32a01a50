"""The store's routes: list, show, copy, delete, blobs, create."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from registry.store import Store
from tests.gateway.conftest import RunningGateway
from tests.gateway.stub_models import write_chat_gguf


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


async def test_tags_list_the_models(gateway: RunningGateway) -> None:
    """Entries have the recorded fields, in the recorded order."""
    models = (await gateway.client.get("/api/tags")).json()["models"]
    assert {model["name"] for model in models} == {"smollm2:latest", "tiny-tools:latest", "minilm:latest"}
    assert list(models[0]) == ["name", "model", "modified_at", "size", "digest", "details", "capabilities"]
    assert list(models[0]["details"]) == [
        "parent_model",
        "format",
        "family",
        "families",
        "parameter_size",
        "quantization_level",
        "context_length",
        "embedding_length",
    ]


async def test_tags_list_a_damaged_model_all_the_same(gateway: RunningGateway, store: Store) -> None:
    """A model whose weights are gone can be seen, and so be deleted."""
    weights = store.resolve("minilm").weights_path
    weights.unlink()
    models = {model["name"]: model for model in (await gateway.client.get("/api/tags")).json()["models"]}
    assert "capabilities" not in models["minilm:latest"]
    assert (await gateway.client.request("DELETE", "/api/delete", json={"model": "minilm"})).status_code == 200
    assert (await gateway.post("/api/show", {"model": "minilm"})).status_code == 404


async def test_show_describes_a_model(gateway: RunningGateway) -> None:
    """The deprecated field name still works, and capabilities come from the template."""
    answer = (await gateway.post("/api/show", {"name": "TINY-TOOLS"})).json()
    assert {"modelfile", "template", "details", "model_info", "capabilities", "modified_at"} <= set(answer)
    assert set(answer["capabilities"]) == {"completion", "tools", "thinking"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/api/show", {}, 400, "model is required"),
        ("POST", "/api/show", {"model": "x:y:z"}, 400, "invalid model name"),
        ("POST", "/api/show", {"model": "nope"}, 404, "model 'nope:latest' not found"),
        ("POST", "/api/copy", {}, 400, 'source "" is invalid'),
        ("POST", "/api/copy", {"source": "smollm2"}, 400, 'destination "" is invalid'),
        ("POST", "/api/copy", {"source": "smollm2", "destination": "../x"}, 400, 'destination "../x" is invalid'),
        ("POST", "/api/copy", {"source": "nope", "destination": "x"}, 404, 'model "nope" not found'),
        ("DELETE", "/api/delete", {}, 400, "model is required"),
        ("DELETE", "/api/delete", {"model": "../x"}, 400, 'name "../x" is invalid'),
        ("DELETE", "/api/delete", {"name": "nope"}, 404, "model 'nope' not found"),
        ("POST", "/api/create", {}, 400, "invalid model name"),
        ("POST", "/api/create", {"model": "x"}, 400, "neither 'from' or 'files' was specified"),
        ("POST", "/api/create", {"model": "x", "files": {"../a": "d"}}, 400, "file path must be relative"),
        ("POST", "/api/blobs/nonsense", {}, 400, "invalid digest format"),
    ],
)
async def test_store_routes_refuse_with_the_known_text(  # noqa: PLR0917  # a table's columns
    gateway: RunningGateway, method: str, path: str, body: dict[str, Any], status: int, text: str
) -> None:
    """What is wrong with a request is told in the words that clients know."""
    response = await gateway.client.request(method, path, json=body)
    assert (response.status_code, response.json()) == (status, {"error": text})


async def test_copy_and_delete(gateway: RunningGateway) -> None:
    """A copy is a second name; deleting one leaves the other."""
    copied = await gateway.post("/api/copy", {"source": "smollm2", "destination": "second"})
    assert (copied.status_code, copied.content, "content-type" in copied.headers) == (200, b"", False)
    assert (await gateway.client.request("DELETE", "/api/delete", json={"model": "smollm2"})).status_code == 200
    assert (await gateway.post("/api/show", {"model": "second"})).status_code == 200


async def test_blob_upload(gateway: RunningGateway, store: Store) -> None:
    """A blob is stored once under its digest; a second upload is answered at once."""
    content = b"x" * 3_000_000  # beyond the bound of JSON bodies
    path = f"/api/blobs/{_digest(content)}"
    assert (await gateway.client.head(path)).status_code == 404
    assert (await gateway.client.post(path, content=content)).status_code == 201
    assert (await gateway.client.head(path)).status_code == 200
    assert (await gateway.client.post(path, content=content)).status_code == 200
    assert store.blobs.path(_digest(content)).read_bytes() == content


async def test_blob_upload_in_chunks(gateway: RunningGateway, store: Store) -> None:
    """The length need not be known."""
    content = bytes(range(256)) * 10_000

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 70_001):
            yield content[start : start + 70_001]

    response = await gateway.client.post(f"/api/blobs/{_digest(content)}", content=chunks())
    assert response.status_code == 201
    assert store.blobs.path(_digest(content)).read_bytes() == content


async def test_blob_upload_with_the_wrong_digest_leaves_nothing(gateway: RunningGateway, store: Store) -> None:
    """What does not have the announced digest is not kept."""
    before = set(store.blobs.folder.iterdir())
    response = await gateway.client.post(f"/api/blobs/sha256:{'1' * 64}", content=b"abc")
    assert response.status_code == 400
    expected = f'digest mismatch, expected "sha256:{"1" * 64}", got "{_digest(b"abc")}"'
    assert response.json() == {"error": expected}
    assert set(store.blobs.folder.iterdir()) == before


async def test_blob_upload_that_breaks_off_leaves_nothing(gateway: RunningGateway, store: Store) -> None:
    """A client that goes away in the middle leaves no file behind."""
    before = set(store.blobs.folder.iterdir())
    stream = await gateway.connect()
    head = f"POST /api/blobs/sha256:{'2' * 64} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n"
    await stream.send_all(head.encode() + b"x" * 2_000_000)
    await stream.aclose()
    with trio.fail_after(60):
        await gateway.wait_for_connections(0)
    assert set(store.blobs.folder.iterdir()) == before


async def test_create_from_a_file(gateway: RunningGateway, tmp_path: Path) -> None:
    """An uploaded GGUF becomes a model, with a line per stage."""
    write_chat_gguf(tmp_path / "new.gguf", template="{{ messages }}")
    content = (tmp_path / "new.gguf").read_bytes()
    await gateway.client.post(f"/api/blobs/{_digest(content)}", content=content)
    response = await gateway.post("/api/create", {"model": "new", "files": {"new.gguf": _digest(content)}})
    assert response.headers["content-type"] == "application/x-ndjson"
    statuses = [json.loads(line)["status"] for line in response.text.splitlines()]
    assert statuses[0] == "parsing GGUF"
    assert statuses[-2:] == ["writing manifest", "success"]
    assert (await gateway.post("/api/show", {"model": "new"})).json()["template"] == "{{ messages }}"


async def test_create_from_a_model_whole(gateway: RunningGateway) -> None:
    """Without streaming only the last line is answered."""
    body = {"model": "pirate", "from": "smollm2", "system": "Arr.", "stream": False}
    response = await gateway.post("/api/create", body)
    assert (response.json(), response.headers["content-type"]) == ({"status": "success"}, "application/json")
    assert (await gateway.post("/api/show", {"model": "pirate"})).json()["system"] == "Arr."


async def test_create_that_fails_midway_ends_with_an_error_line(gateway: RunningGateway) -> None:
    """An error after the first line is the last one."""
    content = b"not a model at all"
    await gateway.client.post(f"/api/blobs/{_digest(content)}", content=content)
    body = {"model": "new", "files": {"a.gguf": _digest(content)}}
    lines = [json.loads(line) for line in (await gateway.post("/api/create", body)).text.splitlines()]
    assert lines == [{"status": "parsing GGUF"}, {"error": "supplied file was not in GGUF format"}]
    whole = await gateway.post("/api/create", body | {"stream": False})
    assert (whole.status_code, whole.json()) == (400, {"error": "supplied file was not in GGUF format"})
