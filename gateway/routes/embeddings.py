"""`POST /api/embed`, `/api/embeddings` and `/v1/embeddings`."""

from collections.abc import Callable

import trio
from quart import Blueprint, Response

from actors.errors import InvalidRequest, ModelNameRequired, RequestError
from gateway.embedding import Embedded, Embedding, embed, embedding_model, texts_of
from gateway.generation import load
from gateway.models import ServedModel
from gateway.options import RequestOptions, request_options
from gateway.routes.answering import json_response
from gateway.routes.reading import EOF, current_request, read_body
from gateway.wire import fields
from gateway.wire.native_requests import EmbeddingRequest, EmbedRequest
from gateway.wire.openai import JSON
from gateway.wire.openai_requests import EmbedRequest as OpenAIEmbedRequest
from gateway.wire.vectors import base64_vectors, embed_reply, json_vectors, openai_reply
from gateway.worker import Worker

_BIG_ANSWER_BYTES = 32 << 10
"""Writing so many bytes of floats as JSON takes about half a millisecond."""
_FORMATS = ("float", "base64")


def embedding_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("embeddings", __name__)

    @routes.post("/api/embed")
    async def api_embed() -> Response:
        body = await read_body(EmbedRequest)
        keep_alive_s, inputs = fields.parse_keep_alive_s(body.keep_alive), texts_of(body.input)
        model = await embedding_model(worker.models, body.model or "")
        options = _options(model, body.options)
        if not inputs or body.input == "":
            await _load_only(worker, model, options, keep_alive_s)
            return json_response(embed_reply(body.model or "", [], total_ns=0, load_ns=0, prompt_tokens=0))
        wanted = Embedding(
            model=model,
            options=options,
            inputs=inputs,
            keep_alive_s=keep_alive_s,
            truncate=body.truncate is not False,
            dimensions=body.dimensions or 0,
        )
        answer = await embed(worker.jobs, current_request(), wanted)
        vectors = await _written(answer, _as_json)
        reply = embed_reply(
            body.model or "",
            vectors,
            total_ns=answer.total_ns,
            load_ns=answer.load_ns,
            prompt_tokens=answer.prompt_tokens,
        )
        return json_response(reply)

    @routes.post("/api/embeddings")
    async def api_embeddings() -> Response:
        body = await read_body(EmbeddingRequest)
        if not body.model:
            raise ModelNameRequired
        keep_alive_s = fields.parse_keep_alive_s(body.keep_alive)
        model = await embedding_model(worker.models, body.model)
        options = _options(model, body.options)
        if not body.prompt:
            await _load_only(worker, model, options, keep_alive_s)
            return json_response(b'{"embedding":[]}')
        wanted = Embedding(model=model, options=options, inputs=[body.prompt], keep_alive_s=keep_alive_s)
        answer = await embed(worker.jobs, current_request(), wanted)
        return json_response(b'{"embedding":' + (await _written(answer, _as_json))[0] + b"}")

    @routes.post("/v1/embeddings")
    async def openai_embeddings() -> Response:
        body = await read_body(OpenAIEmbedRequest, if_empty=EOF)
        if body.input is None or body.input == []:
            raise InvalidRequest("invalid input")
        encoding = (body.encoding_format or "float").lower()
        if encoding not in _FORMATS:
            raise InvalidRequest(
                f"Invalid value for 'encoding_format' = {body.encoding_format}. Supported values: ['float', 'base64']."
            )
        model = await embedding_model(worker.models, body.model or "")
        wanted = Embedding(
            model=model, options=_options(model, None), inputs=_openai_texts(body), dimensions=body.dimensions or 0
        )
        answer = await embed(worker.jobs, current_request(), wanted)
        vectors = await _written(answer, _as_json if encoding == "float" else _as_base64)
        return json_response(openai_reply(body.model or "", vectors, prompt_tokens=answer.prompt_tokens), JSON)

    return routes


def _options(model: ServedModel, requested: dict[str, object] | None) -> RequestOptions:
    return request_options(model.installed.parameters, requested).clamped(model.spec.n_ctx_train)


async def _load_only(worker: Worker, model: ServedModel, options: RequestOptions, keep_alive_s: float | None) -> None:
    if keep_alive_s == 0:
        await worker.jobs.questions.unload(model.spec.key)
    else:
        await load(worker.jobs, current_request(), model, options, keep_alive_s)


def _openai_texts(body: OpenAIEmbedRequest) -> list[str]:
    try:
        return texts_of(body.input)
    except InvalidRequest as error:
        raise RequestError(error.message) from error  # clients know this one as an error of the dispatched request


async def _written(answer: Embedded, write: Callable[[Embedded], list[bytes]]) -> list[bytes]:
    if len(answer.values) > _BIG_ANSWER_BYTES:
        return await trio.to_thread.run_sync(write, answer)
    return write(answer)


def _as_json(answer: Embedded) -> list[bytes]:
    return json_vectors(answer.numbers(), answer.width)


def _as_base64(answer: Embedded) -> list[bytes]:
    return base64_vectors(answer.values, answer.width)
