"""`/`, `/api/version`, `/api/ps`, and what no route answers."""

from datetime import datetime

import pytest

from actors.messages.model import ModelDetails, RunnerUse
from actors.messages.overview import RunnerStatus
from actors.settings import FOREVER_S, Settings
from gateway.version import OLLAMA_VERSION
from registry.store import Store
from tests.gateway.conftest import RunningGateway, running_gateway
from tests.support.stub_backend import StubBackend


def _status(name: str, *, expires_in_s: float, used_threads: int = 0) -> RunnerStatus:
    return RunnerStatus(
        runner_id="r",
        name=name,
        digest="d" * 64,
        details=ModelDetails(family="llama", families=("llama",), parameter_size="134.52M", quantization_level="Q4_1"),
        state="ready",
        size_bytes=10,
        size_vram_bytes=4,
        num_ctx=4096,
        n_slots=8,
        n_threads=2,
        n_queued=0,
        expires_in_s=expires_in_s,
        use=RunnerUse(n_threads=used_threads),
    )


async def test_root_says_what_clients_look_for(gateway: RunningGateway) -> None:
    """Clients probe for this text."""
    response = await gateway.client.get("/")
    assert (response.text, response.headers["content-type"]) == ("Ollama is running", "text/plain; charset=utf-8")


async def test_version_tells_both(gateway: RunningGateway) -> None:
    """The version that clients gate on, and ours."""
    answer = (await gateway.client.get("/api/version")).json()
    assert answer["version"] == OLLAMA_VERSION
    assert answer["llamactor"]


async def test_ps_lists_what_the_scheduler_says(gateway: RunningGateway, backend: StubBackend) -> None:
    """Fields come in the recorded order; one that never expires has a date far away."""
    backend.statuses = (
        _status("a:latest", expires_in_s=FOREVER_S),
        _status("b:latest", expires_in_s=60, used_threads=1),
    )
    forever, soon = (await gateway.client.get("/api/ps")).json()["models"]
    fields = ["name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length", "llamactor"]
    assert list(forever) == fields
    assert (forever["name"], forever["size"], forever["size_vram"], forever["context_length"]) == (
        "a:latest",
        10,
        4,
        4096,
    )
    assert datetime.fromisoformat(soon["expires_at"]) > datetime.now().astimezone()
    assert forever["expires_at"] > "2300"
    assert [each["llamactor"]["threads"] for each in (forever, soon)] == [
        2,
        1,
    ]  # the budget, until steps have used some


async def test_ps_without_models_is_an_empty_list(gateway: RunningGateway) -> None:
    """Nothing loaded is a list of nothing."""
    assert (await gateway.client.get("/api/ps")).json() == {"models": []}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/nope", None),
        ("GET", "/api/generate", "POST"),
        ("DELETE", "/api/tags", "HEAD, GET"),
        ("OPTIONS", "/api/chat", "POST"),
        ("GET", "/v1/model/a", None),
    ],
)
async def test_unknown_paths_and_methods(gateway: RunningGateway, method: str, path: str, allow: str | None) -> None:
    """Plain texts, as the reference server has them."""
    response = await gateway.client.request(method, path)
    answer = (404, "404 page not found") if allow is None else (405, "405 method not allowed")
    assert (response.status_code, response.text) == answer
    assert (response.headers["content-type"], response.headers.get("allow")) == ("text/plain", allow)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api/tags/", 301), ("POST", "/api/show/", 307)])
async def test_trailing_slash_redirects(gateway: RunningGateway, method: str, path: str, status: int) -> None:
    """A known path with a slash too many leads to the one without."""
    response = await gateway.client.request(method, path)
    assert (response.status_code, response.headers["location"]) == (status, path.rstrip("/"))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:1"}, 200),
        ({"Host": "foo.local"}, 200),
        ({"Host": "10.0.0.1"}, 200),
        ({"Host": "evil.example.com"}, 403),
        ({"Host": "8.8.8.8"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "http://evil.example.com"}, 403),
        ({"Origin": "http://localhost", "Host": "localhost"}, 200),
    ],
)
async def test_gate_checks_host_and_origin(gateway: RunningGateway, headers: dict[str, str], status: int) -> None:
    """Pages of strangers and rebound names get nothing."""
    response = await gateway.client.get("/api/version", headers=headers)
    assert response.status_code == status
    assert not response.content or status == 200


async def test_preflight_of_an_allowed_page(gateway: RunningGateway) -> None:
    """A preflight is answered without looking at the route."""
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    response = await gateway.client.options("/api/chat", headers=headers)
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-max-age"] == "43200"


async def test_options_through_a_local_name_is_answered(gateway: RunningGateway) -> None:
    """Through a name of this machine OPTIONS passes without an origin."""
    response = await gateway.client.options("/api/chat", headers={"Host": "localhost"})
    assert response.status_code == 204


async def test_host_is_not_checked_off_loopback(settings: Settings, store: Store) -> None:
    """Who binds to all addresses may be called by any name."""
    everywhere = Settings(
        host="0.0.0.0",
        port=0,
        run_dir=settings.run_dir,
        scheduler_endpoint=settings.scheduler_endpoint,
        origins=("*",),
    )
    async with running_gateway(everywhere, store) as gateway:
        headers = {"Host": "example.com", "Origin": "http://anything"}
        response = await gateway.client.get("/api/version", headers=headers)
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "*")
