"""`POST /api/pull` and `POST /api/push`: progress line by line, or the last line alone."""

from collections.abc import AsyncIterator

from quart import Blueprint, Response

from actors.errors import LlamactorError, ModelNameRequired
from gateway.errors import Family, error_body, status_of
from gateway.gate import bare
from gateway.routes.answering import json_response
from gateway.routes.reading import current_request, read_body
from gateway.transfers import Steps, Transfers, progress_of
from gateway.wire.json_text import to_json
from gateway.wire.native import NDJSON
from gateway.wire.native_requests import PullRequest, PushRequest
from gateway.worker import Worker
from registry.progress import Progress
from registry.pull import pull
from registry.push import push
from registry.remote.abort import Abort

_JSON = "application/json"


def transfer_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("transfer", __name__)
    transfers = Transfers(worker.settings)
    store = worker.models.store

    @routes.post("/api/pull")
    async def pull_model() -> Response:
        body = await read_body(PullRequest)
        transfer = transfers.new(insecure=bool(body.insecure), max_rate_bytes_s=body.max_rate or 0)
        steps = pull(store, body.model_name, transfer, target=body.target or "")
        return await _response(steps, transfer.abort, transfers, streams=body.stream is not False)

    @routes.post("/api/push")
    async def push_model() -> Response:
        body = await read_body(PushRequest)
        if not body.model_name:
            raise ModelNameRequired
        transfer = transfers.new(insecure=bool(body.insecure))
        steps = push(store, body.model_name, transfer)
        return await _response(steps, transfer.abort, transfers, streams=body.stream is not False)

    return routes


async def _response(steps: Steps, abort: Abort, transfers: Transfers, *, streams: bool) -> Response:
    # Held until the request is over: a streamed answer is written after the route has returned.
    on_end = current_request().on_end
    on_end.enter_context(transfers.room())
    on_end.callback(abort.set)  # also when the client leaves between two lines
    if streams:
        return Response(_lines(steps, abort), content_type=NDJSON)
    last: Progress | None = None
    try:
        async for step in progress_of(steps, abort):
            last = step
    except LlamactorError as error:
        status = status_of(error)
        return Response(error_body(Family.NATIVE, error.message, status), status=status, content_type=_JSON)
    return bare(503) if last is None else json_response(to_json(last), _JSON)


async def _lines(steps: Steps, abort: Abort) -> AsyncIterator[bytes]:
    """Give the progress lines; a failure is the last of them."""
    try:
        async for step in progress_of(steps, abort):
            yield to_json(step) + b"\n"
    except LlamactorError as error:
        yield error_body(Family.NATIVE, error.message, status_of(error)) + b"\n"
