"""`GET /v1/models` and `GET /v1/models/{id}`."""

from quart import Blueprint, Response

from gateway.routes.answering import json_response
from gateway.wire.json_text import to_json
from gateway.wire.openai import JSON
from gateway.worker import Worker
from registry.model import InstalledModel

_NS_PER_S = 1_000_000_000


def openai_model_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("openai_models", __name__)
    store = worker.models.store

    @routes.get("/v1/models")
    async def list_models() -> Response:
        installed = await worker.models.in_thread(store.list)
        models = [_listed(model, model.name.shortest) for model in installed]
        return json_response(to_json({"object": "list", "data": models}) + b"\n", JSON)

    @routes.get("/v1/models/<name>")
    async def get_model(name: str) -> Response:
        model = await worker.models.in_thread(lambda: store.resolve(name))
        return json_response(to_json(_listed(model, name)) + b"\n", JSON)

    return routes


def _listed(model: InstalledModel, shown_as: str) -> dict[str, object]:
    return {
        "id": shown_as,
        "object": "model",
        "created": model.modified_ns // _NS_PER_S,
        "owned_by": model.name.namespace,
    }
