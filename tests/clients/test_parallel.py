"""Many clients at once: served at the same time, each with the text that it gets alone."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import ollama
import pytest

from tests.support.server import DEADLINE_S, RunningServer

pytestmark = pytest.mark.processes

N_CLIENTS = 8
PROMPTS = [f"{n} {n + 1} {n + 2}" for n in range(N_CLIENTS)]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """A thread per client."""
    with ThreadPoolExecutor(N_CLIENTS) as pool:
        yield pool


def _text(client: ollama.Client, model: str, prompt: str, n_tokens: int) -> str:
    options = {"temperature": 0, "num_predict": n_tokens}
    return client.generate(model, prompt, raw=True, options=options).response or ""


def test_eight_streams_run_at_once(server: RunningServer, client: ollama.Client, pool: ThreadPoolExecutor) -> None:
    """By default no client waits for another: each has its first words before any reads on."""
    client.generate("tiny")
    (loaded,) = httpx.get(f"{server.url}/api/ps", timeout=DEADLINE_S, trust_env=False).json()["models"]
    assert loaded["llamactor"]["slots"] == N_CLIENTS
    everyone = threading.Barrier(N_CLIENTS)

    def stream(_: int) -> ollama.GenerateResponse:
        options = {"temperature": 0, "num_predict": 300}
        parts = client.generate("tiny", "1 2 3 4", raw=True, options=options, stream=True)
        next(parts)
        everyone.wait(DEADLINE_S)
        return list(parts)[-1]

    assert [last.eval_count for last in pool.map(stream, range(N_CLIENTS))] == [300] * N_CLIENTS


def test_tiny_model_gives_eight_clients_what_each_gets_alone(client: ollama.Client, pool: ThreadPoolExecutor) -> None:
    """Sharing a batch changes no text."""
    alone = [_text(client, "tiny", prompt, 64) for prompt in PROMPTS]
    together = list(pool.map(lambda prompt: _text(client, "tiny", prompt, 64), PROMPTS))
    assert together == alone


def test_real_model_gives_eight_clients_what_each_gets_alone(
    client: ollama.Client, smollm2: str, pool: ThreadPoolExecutor
) -> None:
    """Sharing a batch changes hardly a text: two tokens may be equally good but for rounding."""
    alone = [_text(client, smollm2, prompt, 24) for prompt in PROMPTS]
    together = list(pool.map(lambda prompt: _text(client, smollm2, prompt, 24), PROMPTS))
    n_equal = sum(one == other for one, other in zip(alone, together, strict=True))
    assert n_equal >= N_CLIENTS - 2


def test_more_clients_than_slots_are_all_answered(client: ollama.Client) -> None:
    """Twenty at once get the same greedy text, some after a wait."""
    with ThreadPoolExecutor(20) as pool:
        texts = list(pool.map(lambda _: _text(client, "tiny", "1 2 3 4", 32), range(20)))
    assert len(set(texts)) == 1
    assert texts[0]


def test_models_answer_side_by_side(client: ollama.Client, smollm2: str, pool: ThreadPoolExecutor) -> None:
    """Clients of different models do not wait for each other's."""
    jobs = [(model, prompt) for model in ("tiny", smollm2) for prompt in PROMPTS[:4]]
    texts = list(pool.map(lambda job: _text(client, job[0], job[1], 16), jobs))
    assert len(texts) == len(jobs)
    assert {entry.model for entry in client.ps().models} == {"tiny:latest", smollm2}
