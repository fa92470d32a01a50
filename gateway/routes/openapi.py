"""`GET /openapi.json`: the API's description."""

import functools

import trio
from quart import Blueprint, Response

from gateway.openapi.document import openapi_document
from gateway.routes.answering import json_response
from gateway.wire.json_text import to_json


def openapi_routes() -> Blueprint:
    """Build the route."""
    routes = Blueprint("openapi", __name__)

    @routes.get("/openapi.json")
    async def openapi() -> Response:
        return json_response(await trio.to_thread.run_sync(_document))

    return routes


@functools.cache
def _document() -> bytes:
    return to_json(openapi_document())
