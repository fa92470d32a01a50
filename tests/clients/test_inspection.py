"""Questions about prompts while a runner's only slot is taken."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import ollama
import pytest

from tests.support.server import DEADLINE_S, Place, RunningServer, running_server

pytestmark = pytest.mark.processes

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def shared_server(tiny_gguf: Path) -> Iterator[RunningServer]:
    """A server whose models have one slot."""
    with tempfile.TemporaryDirectory(prefix="lla-", dir="/tmp") as folder:
        place = Place(Path(folder))
        place.install("tiny", tiny_gguf)
        with running_server(place, OLLAMA_NUM_PARALLEL="1") as server:
            yield server


def test_questions_are_answered_while_the_only_slot_is_taken(server: RunningServer, client: ollama.Client) -> None:
    """Counting, tokenizing and rendering wait for no slot: an endless answer goes on beside them."""
    endless = client.generate(
        "tiny", "1 2 3", raw=True, stream=True, options={"ignore_eos": True, "num_predict": 1_000_000}
    )
    next(endless)
    with httpx.Client(base_url=server.url, timeout=DEADLINE_S, trust_env=False) as http:
        tokens = http.post("/api/tokenize", json={"model": "tiny", "content": "Hello"}).json()["tokens"]
        text = http.post("/api/detokenize", json={"model": "tiny", "tokens": tokens}).json()["content"]
        shown = http.post("/api/apply-template", json={"model": "tiny", "messages": HI}).json()
        rendered = http.post(
            "/api/chat", json={"model": "tiny", "messages": HI, "_debug_render_only": True, "options": {"num_ctx": 256}}
        ).json()
        (loaded,) = http.get("/api/ps").json()["models"]
    with anthropic.Anthropic(
        base_url=server.url, api_key="x", max_retries=0, http_client=anthropic.DefaultHttpxClient(trust_env=False)
    ) as claude:
        counted = claude.messages.count_tokens(model="tiny", messages=[{"role": "user", "content": "Hi"}])
    assert text == "Hello"
    assert shown["prompt"] == rendered["_debug_info"]["rendered_template"]
    assert counted.input_tokens == shown["prompt_eval_count"]
    assert (loaded["llamactor"]["slots"], loaded["llamactor"]["active"]) == (1, 1)
    assert not next(endless).done
    endless.close()  # type: ignore[attr-defined]  # the client's generator, which its type hides
