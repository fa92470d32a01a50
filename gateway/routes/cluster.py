"""`/api/status`, `/api/pin` and `/api/drain`: the cluster looked into and told what to do. Ours, not Ollama's."""

from typing import Any

import msgspec
from quart import Blueprint, Response

from actors.errors import InvalidRequest
from gateway.routes.answering import json_response
from gateway.routes.reading import read_body
from gateway.wire.json_text import to_json
from gateway.wire.native_requests import DrainRequest, PinRequest
from gateway.worker import Worker


def cluster_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("cluster", __name__)

    @routes.get("/api/status")
    async def status() -> Response:
        overview = _named(await worker.jobs.questions.overview())
        del overview["request_id"]
        return json_response(to_json(overview))

    @routes.post("/api/pin")
    async def pin() -> Response:
        body = await read_body(PinRequest)
        model = await worker.models.resolve(body.model or "")
        is_pinned = body.pin is not False
        n_runners = await worker.jobs.questions.pin(model.spec.key, is_pinned=is_pinned)
        return json_response(to_json({"model": model.spec.name, "pinned": is_pinned, "runners": n_runners}))

    @routes.post("/api/drain")
    async def drain() -> Response:
        body = await read_body(DrainRequest)
        if not body.target:
            raise InvalidRequest("target is required: a host or a runner, as GET /api/status lists them")
        is_draining = body.drain is not False
        n_runners = await worker.jobs.questions.drain(body.target, is_draining=is_draining)
        return json_response(to_json({"target": body.target, "draining": is_draining, "runners": n_runners}))

    return routes


def _named(value: Any) -> Any:
    """Give a value that travels without the names of its fields with them, for JSON."""
    if isinstance(value, msgspec.Struct):
        return {name: _named(getattr(value, name)) for name in value.__struct_fields__}
    return [_named(each) for each in value] if isinstance(value, tuple) else value
