"""Models with a LoRA adapter, and adapters by request, through a whole server."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from registry.create import CreateRequest, create
from registry.store import Store
from tests.support.server import DEADLINE_S, RunningServer
from tests.support.tiny_lora import write_lora

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def pirate(shared_server: RunningServer, tiny_gguf: Path) -> Iterator[str]:
    """The name of a model that was created from `tiny` with an adapter."""
    store = Store(shared_server.place.models)
    digest = store.blobs.add_file(write_lora(shared_server.place.folder / "lora.gguf", tiny_gguf, strength=2.0))
    for _ in create(store, CreateRequest(model="pirate", source="tiny", adapters={"lora.gguf": digest})):
        pass
    yield "pirate"
    store.delete("pirate")


def answer(server: RunningServer, model: str, **wish: object) -> str:
    """Ask for a short text."""
    body = {"model": model, "prompt": "Why is the sky blue?", "raw": True, "stream": False, "options": OPTIONS, **wish}
    response = httpx.post(f"{server.url}/api/generate", json=body, timeout=DEADLINE_S, trust_env=False)
    assert response.status_code == 200, response.text
    return str(response.json()["response"])


OPTIONS = {"temperature": 0, "num_predict": 16}


def test_adapter_of_a_model_and_of_a_request_give_the_same_text(server: RunningServer, pirate: str) -> None:
    """A model's own adapter works as the same one named by a request does; an empty list takes it away."""
    plain, with_its_own = answer(server, "tiny"), answer(server, pirate)
    assert plain != with_its_own
    assert answer(server, "tiny", lora=[{"name": pirate}]) == with_its_own
    assert answer(server, pirate, lora=[]) == plain
    assert answer(server, pirate, lora=[{"name": pirate, "scale": 0}]) == plain
    assert answer(server, "tiny") == plain
