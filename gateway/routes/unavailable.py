"""Routes of the API that this version does not offer yet: each says so, after the checks that clients know."""

from quart import Blueprint, Response

from actors.errors import ModelNameRequired, ModelNotFound, NotAvailable
from gateway.routes.reading import EOF, read_body
from gateway.wire.native_requests import EmbeddingRequest, EmbedRequest
from gateway.wire.openai_requests import EmbedRequest as OpenAIEmbedRequest
from gateway.worker import Worker

_REMEDY = "use a server that embeds"


def unavailable_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("unavailable", __name__)

    @routes.post("/api/embed")
    async def embed() -> Response:
        body = await read_body(EmbedRequest)
        await _check_model(worker, body.model or "")
        raise NotAvailable("/api/embed", _REMEDY)

    @routes.post("/api/embeddings")
    async def embeddings() -> Response:
        body = await read_body(EmbeddingRequest)
        if not body.model:
            raise ModelNameRequired
        await _check_model(worker, body.model)
        raise NotAvailable("/api/embeddings", _REMEDY)

    @routes.post("/v1/embeddings")
    async def openai_embeddings() -> Response:
        body = await read_body(OpenAIEmbedRequest, if_empty=EOF)
        await _check_model(worker, body.model or "")
        raise NotAvailable("/v1/embeddings", _REMEDY)

    return routes


async def _check_model(worker: Worker, name: str) -> None:
    try:
        await worker.models.resolve(name)
    except ModelNotFound as error:
        if name:
            error.message = f'model "{name}" not found, try pulling it first'
        raise
