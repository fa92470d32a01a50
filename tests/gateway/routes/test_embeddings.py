"""The embedding and reranking routes over a real server, with a scripted runner behind it."""

import array
import base64
import json
from pathlib import Path
from typing import Any

import gguf
import pytest

from actors.errors import InvalidRequest
from actors.messages.embedding import EmbedBody
from actors.messages.gateway_to_scheduler import JobKind
from gateway.embedding import MAX_INPUTS
from registry.store import Store
from tests.gateway.conftest import RunningGateway
from tests.gateway.stub_models import install
from tests.support.stub_backend import Log, StubBackend, StubJob
from tests.support.tiny_bert import write_tiny_bert

EMBED, LEGACY, OPENAI = "/api/embed", "/api/embeddings", "/v1/embeddings"
RERANK = ("/api/rerank", "/v1/rerank")


@pytest.fixture
def bodies(backend: StubBackend) -> Log[EmbedBody]:
    """What the runner got; input number n is answered with (n, 0.5)."""
    log = Log[EmbedBody]()

    async def answer(job: StubJob) -> None:
        assert job.embedding is not None
        log.add(job.embedding)
        await job.give_vectors(*[[float(n), 0.5] for n in range(len(job.embedding.inputs))])

    backend.plan = answer
    return log


@pytest.fixture
def reranker(store: Store, tmp_path: Path) -> str:
    """The name of an installed model that ranks."""
    install(store, "ranker", write_tiny_bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK))
    return "ranker"


async def test_embed_gives_vectors_in_order_with_figures(gateway: RunningGateway, bodies: Log[EmbedBody]) -> None:
    """Every input has its vector; the request's wishes reach the runner."""
    wish = {"model": "minilm", "input": ["a", "b", "c"], "truncate": False, "dimensions": 2, "options": {"num_ctx": 64}}
    response = await gateway.post(EMBED, wish)
    assert response.status_code == 200
    answer = response.json()
    assert list(answer) == ["model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"]
    assert answer["embeddings"] == [[0, 0.5], [1, 0.5], [2, 0.5]]
    assert bodies.items == [EmbedBody(inputs=("a", "b", "c"), truncate=False, dimensions=2, num_ctx=64)]


@pytest.mark.parametrize("nothing", ["", [], None])
async def test_embed_nothing_only_loads(gateway: RunningGateway, backend: StubBackend, nothing: Any) -> None:
    """Without an input the model is loaded, and with `keep_alive` 0 unloaded."""
    response = await gateway.post(EMBED, {"model": "minilm", "input": nothing})
    assert response.text == '{"model":"minilm","embeddings":[]}'
    assert backend.submitted.items[0].kind is JobKind.LOAD
    response = await gateway.post(EMBED, {"model": "minilm", "input": nothing, "keep_alive": 0})
    assert response.status_code == 200
    assert len(backend.unloaded.items) == 1


@pytest.mark.parametrize("wrong", [5, {"a": 1}, [["a"]], ["a", 5], [1, 2, 3]])
async def test_embed_wrong_input_is_refused(gateway: RunningGateway, wrong: Any) -> None:
    """An input that is no text, and no list of texts, is the caller's mistake in each family's shape."""
    native = await gateway.post(EMBED, {"model": "minilm", "input": wrong})
    openai = await gateway.post(OPENAI, {"model": "minilm", "input": wrong})
    assert (native.status_code, native.json()) == (400, {"error": "invalid input type"})
    assert (openai.status_code, openai.json()["error"]["message"]) == (400, "invalid input type")


async def test_embed_too_many_inputs_are_refused(gateway: RunningGateway) -> None:
    """The number of inputs has a bound, which the error tells."""
    for path in (EMBED, OPENAI):
        response = await gateway.post(path, {"model": "minilm", "input": ["a"] * (MAX_INPUTS + 1)})
        assert response.status_code == 400
        assert str(MAX_INPUTS) in response.text


async def test_embed_failure_of_the_runner_is_told(gateway: RunningGateway, backend: StubBackend) -> None:
    """An input that the runner refuses is a 400 with its words, also behind vectors that were told."""

    async def fail(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.failed(1, InvalidRequest("the input length exceeds the context length").as_failure()))

    backend.plan = fail
    response = await gateway.post(EMBED, {"model": "minilm", "input": "a"})
    assert (response.status_code, response.json()["error"]) == (400, "the input length exceeds the context length")


async def test_embed_model_that_generates_embeds_too(gateway: RunningGateway, bodies: Log[EmbedBody]) -> None:
    """There is no check of capabilities."""
    response = await gateway.post(EMBED, {"model": "smollm2", "input": "a"})
    assert response.json()["embeddings"] == [[0, 0.5]]
    assert len(bodies.items) == 1


async def test_legacy_embeddings_give_one_vector(gateway: RunningGateway, bodies: Log[EmbedBody]) -> None:
    """The older route has a prompt and one vector; without a prompt it loads."""
    response = await gateway.post(LEGACY, {"model": "minilm", "prompt": "hello"})
    assert response.json() == {"embedding": [0, 0.5]}
    response = await gateway.post(LEGACY, {"model": "minilm"})
    assert response.json() == {"embedding": []}
    assert bodies.items == [EmbedBody(inputs=("hello",))]


async def test_openai_embeddings_as_floats_and_base64(gateway: RunningGateway, bodies: Log[EmbedBody]) -> None:
    """Both encodings carry the same 32-bit floats."""
    wish = {"model": "minilm", "input": ["a", "b"], "dimensions": 7}
    floats = (await gateway.post(OPENAI, wish)).json()
    packed = (await gateway.post(OPENAI, wish | {"encoding_format": "BASE64"})).json()
    assert [each["index"] for each in floats["data"]] == [0, 1]
    assert floats["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert list(floats) == ["object", "data", "model", "usage"]
    for left, right in zip(floats["data"], packed["data"], strict=True):
        assert array.array("f", left["embedding"]).tobytes() == base64.b64decode(right["embedding"])
    assert bodies.items[0].dimensions == 7


async def test_embed_big_answer_is_whole(gateway: RunningGateway, backend: StubBackend) -> None:
    """Answers that are written in a worker thread are right, too, to the last bit of each float."""
    vector = [n / 7919 - 0.05 for n in range(400)]

    async def answer(job: StubJob) -> None:
        assert job.embedding is not None
        await job.give_vectors(*[vector] * len(job.embedding.inputs))

    backend.plan = answer
    response = await gateway.post(EMBED, {"model": "minilm", "input": ["a"] * 100})
    expected = array.array("f", vector)
    rows = response.json()["embeddings"]
    assert len(rows) == 100
    assert all(array.array("f", row) == expected for row in rows)


async def test_embed_client_that_leaves_cancels(gateway: RunningGateway, backend: StubBackend) -> None:
    """Nobody goes on embedding for a client that is gone."""
    log = Log[StubJob]()

    async def never(job: StubJob) -> None:
        await job.accept()
        log.add(job)

    backend.plan = never
    body = json.dumps({"model": "minilm", "input": "a"}).encode()
    stream = await gateway.send_raw("POST", EMBED, body)
    job = await log.wait_for(1)
    await stream.aclose()
    assert await backend.runner.cancelled.wait_for(1) == job.submit.job_id


@pytest.mark.parametrize("path", RERANK)
async def test_rerank_sorts_by_score(gateway: RunningGateway, backend: StubBackend, reranker: str, path: str) -> None:
    """The best document comes first; `top_n` and `return_documents` are heeded; documents may be objects."""

    async def score(job: StubJob) -> None:
        assert job.embedding is not None
        assert job.embedding.query == "q"
        await job.give_vectors(*[[float(len(text))] for text in job.embedding.inputs])

    backend.plan = score
    wish = {"model": reranker, "query": "q", "documents": ["aa", {"text": "aaaa"}, "a"], "top_n": 2}
    answer = (await gateway.post(path, wish | {"return_documents": True})).json()
    assert answer["results"] == [
        {"index": 1, "relevance_score": 4, "document": {"text": "aaaa"}},
        {"index": 0, "relevance_score": 2, "document": {"text": "aa"}},
    ]
    assert answer["model"] == reranker
    assert answer.get("prompt_eval_count", answer.get("usage", {}).get("total_tokens")) == 5


@pytest.mark.parametrize("path", RERANK)
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"query": ""}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": "a"}, "documents"),
        ({"documents": [5]}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"model": ""}, "model"),
        ({"model": "minilm"}, '"minilm" does not support rerank'),
        ({"documents": ["a"] * (MAX_INPUTS + 1)}, str(MAX_INPUTS)),
    ],
)
async def test_rerank_bad_request_names_what_is_wrong(
    gateway: RunningGateway, reranker: str, path: str, change: dict[str, Any], word: str
) -> None:
    """Each mistake is a 400 in the family's shape."""
    wish = {"model": reranker, "query": "q", "documents": ["a", "b"]} | change
    response = await gateway.post(path, wish)
    assert response.status_code == 400
    error = response.json()["error"]
    assert word in (error["message"] if path.startswith("/v1") else error)
