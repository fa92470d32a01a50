"""`POST /api/rerank` and `/v1/rerank`: documents in the order of how well they answer a query.

Ollama has no such route; the body is that of Jina's and Cohere's, which llama-server takes, too. Scores are the model's
own: comparable with each other, and between 0 and 1 only where the model was made so.
"""

from typing import Any

from quart import Blueprint, Response

from actors.errors import InvalidRequest, ModelNameRequired, UnsupportedByModel
from gateway.embedding import Embedded, Embedding, check_count, embed, embedding_model
from gateway.models import ServedModel
from gateway.options import request_options
from gateway.routes.answering import json_response
from gateway.routes.reading import EOF, MISSING_BODY, current_request, read_body
from gateway.wire import fields
from gateway.wire.json_text import to_json
from gateway.wire.native_requests import RerankRequest
from gateway.wire.openai import JSON
from gateway.worker import Worker


def rerank_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("rerank", __name__)

    @routes.post("/api/rerank")
    async def api_rerank() -> Response:
        body = await read_body(RerankRequest, if_empty=MISSING_BODY)
        documents = _documents(body)
        answer = await _scored(worker, body, documents)
        reply: dict[str, Any] = {"model": body.model, "results": _results(answer, documents, body)}
        figures = {
            "total_duration": answer.total_ns,
            "load_duration": answer.load_ns,
            "prompt_eval_count": answer.prompt_tokens,
        }
        return json_response(to_json(reply | {name: value for name, value in figures.items() if value}))

    @routes.post("/v1/rerank")
    async def v1_rerank() -> Response:
        body = await read_body(RerankRequest, if_empty=EOF)
        documents = _documents(body)
        answer = await _scored(worker, body, documents)
        usage = {"prompt_tokens": answer.prompt_tokens, "total_tokens": answer.prompt_tokens}
        results = _results(answer, documents, body)
        reply = {"model": body.model, "object": "list", "usage": usage, "results": results}
        return json_response(to_json(reply) + b"\n", JSON)

    return routes


async def _scored(worker: Worker, body: RerankRequest, documents: list[str]) -> Embedded:
    model = await _reranker(worker, body.model)
    wanted = Embedding(
        model=model,
        options=request_options(model.installed.parameters, body.options).clamped(model.spec.n_ctx_train),
        inputs=documents,
        query=body.query,
        keep_alive_s=fields.parse_keep_alive_s(body.keep_alive),
        truncate=body.truncate is not False,
    )
    return await embed(worker.jobs, current_request(), wanted)


async def _reranker(worker: Worker, name: str | None) -> ServedModel:
    model = await embedding_model(worker.models, name or "")
    if not model.is_reranker:
        raise UnsupportedByModel(f'"{model.requested}"', "rerank")
    return model


def _documents(body: RerankRequest) -> list[str]:
    """Read the documents, after what has to be there beside them.

    Raises:
        ModelNameRequired: no model is named.
        InvalidRequest: query or documents are missing, or not as they must be.
    """
    if not body.model:
        raise ModelNameRequired
    if not body.query:
        raise InvalidRequest("query is required: send the text that the documents shall be compared with")
    if not isinstance(body.documents, list) or not body.documents:
        raise InvalidRequest("documents is required: send a list of texts")
    if body.top_n is not None and body.top_n < 1:
        raise InvalidRequest("top_n must be at least 1")
    check_count(body.documents)
    return [_text(document) for document in body.documents]


def _text(document: Any) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise InvalidRequest('each of documents must be a text, or an object with a "text"')
    return text


def _results(answer: Embedded, documents: list[str], body: RerankRequest) -> list[dict[str, Any]]:
    scores = answer.numbers()
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))[: body.top_n]
    results: list[dict[str, Any]] = [{"index": index, "relevance_score": scores[index]} for index in order]
    if body.return_documents:
        for result in results:
            result["document"] = {"text": documents[result["index"]]}
    return results
