"""Fixtures of the client tests: one server per module, and the real clients connected to it."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ollama
import openai
import pytest

from tests.support.server import DEADLINE_S, Place, RunningServer, running_server


@pytest.fixture(scope="module")
def shared_server(tiny_gguf: Path) -> Iterator[RunningServer]:
    """A server with the tiny model as `tiny` and the default settings."""
    with tempfile.TemporaryDirectory(prefix="lla-", dir="/tmp") as folder:
        place = Place(Path(folder))
        place.install("tiny", tiny_gguf)
        with running_server(place) as server:
            yield server


@pytest.fixture
def server(shared_server: RunningServer) -> Iterator[RunningServer]:
    """The module's server; what it logs during a test is shown with that test."""
    n_before = len(shared_server.log)
    yield shared_server
    sys.stderr.write(shared_server.log[n_before:])


@pytest.fixture(scope="module")
def smollm2(shared_server: RunningServer, smollm2_gguf: Path) -> str:
    """The name of SmolLM2 on the server."""
    shared_server.place.install("smollm2:135m", smollm2_gguf)
    return "smollm2:135m"


@pytest.fixture
def client(server: RunningServer) -> Iterator[ollama.Client]:
    """Ollama's own client."""
    with ollama.Client(host=server.url, timeout=DEADLINE_S, trust_env=False) as client:
        yield client


@pytest.fixture
def v1(server: RunningServer) -> Iterator[openai.OpenAI]:
    """OpenAI's own client; it gives errors at once instead of asking again."""
    with (
        openai.DefaultHttpxClient(trust_env=False) as transport,
        openai.OpenAI(
            base_url=f"{server.url}/v1", api_key="any", timeout=DEADLINE_S, max_retries=0, http_client=transport
        ) as client,
    ):
        yield client
