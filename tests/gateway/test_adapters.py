"""`lora` of a request, and models with adapters of their own."""

from pathlib import Path
from typing import Any

import pytest

from actors.messages.job import JobBody
from actors.messages.model import AdapterUse
from gateway.adapters import MOST_ADAPTERS
from registry.create import CreateRequest, create
from registry.store import Store
from tests.gateway.conftest import RunningGateway
from tests.support.stub_backend import Log, StubBackend, StubJob
from tests.support.tiny_lora import write_lora

ASK = {"model": "tiny-tools", "prompt": "Hi", "stream": False}


@pytest.fixture
def lora(store: Store, tmp_path: Path, tiny_gguf: Path) -> str:
    """The path of the adapter with which `pirate` was created from `tiny-tools`."""
    digest = store.blobs.add_file(write_lora(tmp_path / "lora.gguf", tiny_gguf))
    for _ in create(store, CreateRequest(model="pirate", source="tiny-tools", adapters={"lora.gguf": digest})):
        pass
    return str(store.blobs.path(digest))


@pytest.fixture
def bodies(backend: StubBackend) -> Log[JobBody]:
    """What the runner got, of jobs that it answers with `ok`."""
    log = Log[JobBody]()

    async def answer(job: StubJob) -> None:
        assert job.body is not None
        log.add(job.body)
        await job.say("ok")

    backend.plan = answer
    return log


async def test_model_with_an_adapter_is_loaded_with_it(
    gateway: RunningGateway, backend: StubBackend, bodies: Log[JobBody], lora: str
) -> None:
    """Its spec names the file, and the request none; it has a runner of its own."""
    for model in ("tiny-tools", "pirate"):
        assert (await gateway.post("/api/generate", ASK | {"model": model})).status_code == 200
    plain, pirate = [submit.model for submit in backend.submitted.items]
    assert (plain.adapters, pirate.adapters) == ((), (lora,))
    assert plain.key != pirate.key
    assert [body.adapters for body in bodies.items] == [None, None]


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/api/generate", ASK),
        ("/api/chat", {"model": "tiny-tools", "messages": [{"role": "user", "content": "Hi"}], "stream": False}),
        ("/v1/chat/completions", {"model": "tiny-tools", "messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/completions", {"model": "tiny-tools", "prompt": "Hi"}),
    ],
)
async def test_lora_of_a_request_replaces_the_models_own(
    gateway: RunningGateway, bodies: Log[JobBody], lora: str, path: str, wish: dict[str, Any]
) -> None:
    """Names become files with scales; an empty list leaves none; the routes of both families take it."""
    for value in ([{"name": "pirate", "scale": 0.5}], [{"name": "pirate:latest"}], []):
        assert (await gateway.post(path, wish | {"lora": value})).status_code == 200
    assert [body.adapters for body in bodies.items] == [(AdapterUse(lora, 0.5),), (AdapterUse(lora, 1.0),), ()]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("pirate", "list"),
        ([{"name": f"m{n}"} for n in range(MOST_ADAPTERS + 1)], "at most"),
        (["pirate"], "object"),
        ([{"scale": 1}], "name"),
        ([{"name": "pirate", "scale": "1"}], "scale"),
        ([{"name": "pirate", "scale": True}], "scale"),
        ([{"name": "pirate", "scale": 1e30}], "scale"),
        ([{"name": "pirate"}, {"name": "pirate"}], "twice"),
        ([{"name": "nobody"}], "not installed"),
        ([{"name": "tiny-tools"}], "has no adapter"),
        ([{"name": "../x"}], "invalid model name"),
    ],
)
@pytest.mark.usefixtures("lora")
async def test_lora_bad_value_is_refused(gateway: RunningGateway, value: Any, says: str) -> None:
    """Each mistake is a 400 that names it."""
    response = await gateway.post("/api/generate", ASK | {"lora": value})
    assert response.status_code == 400
    assert says in response.json()["error"]


@pytest.mark.usefixtures("lora")
async def test_lora_for_other_weights_is_refused(gateway: RunningGateway) -> None:
    """An adapter fits the weights that it was created with only."""
    response = await gateway.post("/api/generate", ASK | {"model": "smollm2", "lora": [{"name": "pirate"}]})
    assert response.status_code == 400
    assert "other weights" in response.json()["error"]
