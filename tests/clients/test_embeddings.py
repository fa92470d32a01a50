"""Embeddings and scores of real models through a whole server, with the real clients."""

import concurrent.futures
import json
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy as np
import ollama
import openai
import pytest

from registry.gguf import read_gguf
from tests.support.server import DEADLINE_S, RunningServer
from tests.support.tiny_bert import WIDTH, write_tiny_bert

pytestmark = pytest.mark.processes

_SHARED = Path(__file__).parents[3] / "shared"
TEXTS = ["hello", "a", "the quick brown fox", "", "zebra " * 300]


@pytest.fixture(scope="module")
def bert(shared_server: RunningServer) -> str:
    """The name of a small encoder on the server."""
    path = write_tiny_bert(shared_server.place.folder / "bert.gguf")
    shared_server.place.install("bert", path)
    return "bert"


@pytest.fixture(scope="module")
def ranker(shared_server: RunningServer) -> str:
    """The name of a small reranker on the server."""
    path = write_tiny_bert(shared_server.place.folder / "rank.gguf", gguf.PoolingType.RANK)
    shared_server.place.install("ranker", path)
    return "ranker"


def test_embed_one_call_equals_many_at_once(client: ollama.Client, bert: str) -> None:
    """Texts in one call, and each in a call of its own at the same time, give the same vectors."""
    together = client.embed(bert, TEXTS[:3] + TEXTS[4:]).embeddings
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        texts = (TEXTS[:3] + TEXTS[4:]) * 8
        alone = list(pool.map(lambda text: client.embed(bert, text).embeddings[0], texts))
    assert len(together[0]) == WIDTH
    for number, vector in enumerate(alone):
        assert float(np.dot(vector, together[number % len(together)])) == pytest.approx(1, abs=1e-4)


def test_embed_too_long_is_cut_or_refused(client: ollama.Client, bert: str) -> None:
    """An input beyond the context loses its end, unless it may not."""
    assert client.embed(bert, TEXTS[-1]).prompt_eval_count == 128
    with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length") as refused:
        client.embed(bert, TEXTS[-1], truncate=False)
    assert refused.value.status_code == 400


def test_openai_client_gets_the_same_vectors(client: ollama.Client, v1: openai.OpenAI, bert: str) -> None:
    """OpenAI's client, which asks for base64 by itself, reads what Ollama's does; an empty text is one."""
    reply = v1.embeddings.create(model=bert, input=["hello", ""], dimensions=4)
    assert reply.data[0].embedding == pytest.approx(client.embed(bert, "hello", dimensions=4).embeddings[0], abs=1e-4)
    assert len(reply.data[1].embedding) == 4


def test_generation_model_embeds_while_it_generates(client: ollama.Client) -> None:
    """Both come from one runner, and the text is that without company."""
    ask: Any = {"model": "tiny", "prompt": "Count to nine.", "options": {"temperature": 0, "num_predict": 60}}
    alone = client.generate(**ask).response
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        text = pool.submit(lambda: client.generate(**ask).response)
        vectors = pool.submit(lambda: client.embed("tiny", ["Hello", "Count to nine. " * 40] * 8).embeddings)
        assert text.result() == alone
        assert np.linalg.norm(np.array(vectors.result()), axis=1) == pytest.approx(np.ones(16), abs=1e-4)


def test_rerank_orders_documents(server: RunningServer, ranker: str) -> None:
    """Both routes give the same order; a model that gives vectors is refused, and so is embedding with a reranker."""
    wish = {"model": ranker, "query": "quick", "documents": ["a b c", "quick fox", "zebra " * 200]}
    native = httpx.post(f"{server.url}/api/rerank", json=wish, timeout=DEADLINE_S, trust_env=False).json()
    v1 = httpx.post(f"{server.url}/v1/rerank", json=wish, timeout=DEADLINE_S, trust_env=False).json()
    scores = [each["relevance_score"] for each in native["results"]]
    assert scores == sorted(scores, reverse=True)
    assert [each["index"] for each in native["results"]] == [each["index"] for each in v1["results"]]
    wrong = httpx.post(f"{server.url}/api/embed", json={"model": ranker, "input": "a"}, timeout=DEADLINE_S)
    assert (wrong.status_code, "rerank" in wrong.text) == (400, True)


def test_embed_gives_the_recorded_numbers(shared_server: RunningServer, client: ollama.Client) -> None:
    """The vectors of a published model are those that the reference server gave for the same texts."""
    weights, recordings = _SHARED / "models" / "all-minilm-l6-v2-f16.gguf", _SHARED / "data" / "ollama-wire.json"
    if not weights.is_file() or not recordings.is_file():
        pytest.skip("no recordings beside the repository")
    assert read_gguf(weights).architecture == "bert"
    shared_server.place.install("minilm", weights)
    n_compared = 0
    for each in json.loads(recordings.read_text())["exchanges"]:
        body, recorded = each.get("body", {}), each.get("json", {})
        is_whole = each["name"] != "embed long"  # its request is cut short in the recording
        if each["path"] == "/api/embed" and body.get("model") == "minilm" and recorded.get("embeddings") and is_whole:
            answer = client.embed(**{key: value for key, value in body.items() if key != "keep_alive"})
            assert answer.prompt_eval_count == recorded["prompt_eval_count"], each["name"]
            for got, expected in zip(answer.embeddings, recorded["embeddings"], strict=True):
                numbers = [value for value in expected if isinstance(value, float)]
                assert got[: len(numbers)] == pytest.approx(numbers, abs=1e-4), each["name"]
                n_compared += 1
    assert n_compared > 5
