"""`GET /v1/models` and `GET /v1/models/{id}`: as OpenAI lists models, or as Anthropic does for its clients.

An id may have slashes, as names with a namespace do, written as they are or percent-encoded.

Both services have the same paths; Anthropic's clients are known by the version header that they must send.
"""

from collections.abc import Sequence

from quart import Blueprint, Response
from werkzeug.exceptions import NotFound

from gateway.routes.answering import json_response
from gateway.routes.reading import speaks_anthropic
from gateway.wire.json_text import to_json, utc_text
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
        if speaks_anthropic():
            return json_response(to_json(_anthropic_list(installed)) + b"\n", JSON)
        models = [_listed(model, model.name.shortest) for model in installed]
        return json_response(to_json({"object": "list", "data": models}) + b"\n", JSON)

    @routes.get("/v1/models/<path:name>")
    async def get_model(name: str) -> Response:
        if name.endswith("/"):
            raise NotFound  # whose answer leads to the path without it
        model = await worker.models.in_thread(lambda: store.resolve(name))
        listed = _anthropic_listed(model, name) if speaks_anthropic() else _listed(model, name)
        return json_response(to_json(listed) + b"\n", JSON)

    return routes


def _anthropic_list(installed: Sequence[InstalledModel]) -> dict[str, object]:
    names = [model.name.shortest for model in installed]
    return {
        "data": [_anthropic_listed(model, name) for model, name in zip(installed, names, strict=True)],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }


def _anthropic_listed(model: InstalledModel, shown_as: str) -> dict[str, object]:
    return {
        "type": "model",
        "id": shown_as,
        "display_name": shown_as,
        "created_at": utc_text(model.modified_ns // _NS_PER_S * _NS_PER_S),
        "lifecycle": "active",
    }


def _listed(model: InstalledModel, shown_as: str) -> dict[str, object]:
    return {
        "id": shown_as,
        "object": "model",
        "created": model.modified_ns // _NS_PER_S,
        "owned_by": model.name.namespace,
    }
