"""`POST /api/create`: the registry does the work in worker threads, one progress line after the other.

A base that is not installed is pulled first. A client that leaves ends the pull, and the child process that may be
converting for it.
"""

from collections.abc import AsyncIterator

from quart import Blueprint, Response

from actors.errors import LlamactorError
from gateway.errors import Family, error_body, status_of
from gateway.gate import bare
from gateway.routes.answering import json_response
from gateway.routes.reading import current_request, read_body
from gateway.transfers import Transfers, progress_of
from gateway.wire.json_text import to_json
from gateway.wire.native import NDJSON
from gateway.wire.native_requests import CreateBody
from gateway.worker import Worker
from registry.create import create
from registry.progress import Progress
from registry.pull import pull

_JSON = "application/json"


def create_routes(worker: Worker) -> Blueprint:
    """Build the route."""
    routes = Blueprint("create", __name__)
    store, transfers = worker.models.store, Transfers(worker.settings)

    @routes.post("/api/create")
    async def create_model() -> Response:
        body = await read_body(CreateBody)
        transfer = transfers.new(insecure=False)
        steps = create(store, body, obtain=lambda name: pull(store, name, transfer))
        on_end = current_request().on_end
        on_end.enter_context(transfers.room())
        on_end.callback(transfer.abort.set)  # also when the client leaves between two lines
        progress = progress_of(steps, transfer.abort)
        last: Progress | None = None
        try:
            if body.stream is not False:
                return Response(_lines(await anext(progress, None), progress), content_type=NDJSON)
            async for step in progress:
                last = step
        except LlamactorError as error:
            status = status_of(error)
            return Response(error_body(Family.NATIVE, error.message, status), status=status, content_type=_JSON)
        return bare(503) if last is None else json_response(to_json(last), _JSON)

    return routes


async def _lines(first: Progress | None, rest: AsyncIterator[Progress]) -> AsyncIterator[bytes]:
    """Give the progress lines; a failure is the last of them."""
    try:
        if first is not None:
            yield to_json(first) + b"\n"
        async for step in rest:
            yield to_json(step) + b"\n"
    except LlamactorError as error:
        yield error_body(Family.NATIVE, error.message, status_of(error)) + b"\n"
