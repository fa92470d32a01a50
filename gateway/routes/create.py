"""`POST /api/create`: the registry does the work in a worker thread, one progress line after the other."""

from collections.abc import AsyncIterator, Generator, Iterator

import trio
from quart import Blueprint, Response

from actors.errors import LlamactorError
from gateway.errors import Family, error_body, status_of
from gateway.routes.answering import json_response
from gateway.routes.reading import read_body
from gateway.wire.json_text import to_json
from gateway.wire.native import NDJSON
from gateway.wire.native_requests import CreateBody
from gateway.worker import Worker
from registry.create import create
from registry.progress import Progress

_JSON = "application/json"


def create_routes(worker: Worker) -> Blueprint:
    """Build the route."""
    routes = Blueprint("create", __name__)

    @routes.post("/api/create")
    async def create_model() -> Response:
        body = await read_body(CreateBody)
        steps = create(worker.models.store, body)
        try:
            if body.stream is False:
                last = await trio.to_thread.run_sync(_last, steps)
                return json_response(to_json(last), _JSON)
            first = await trio.to_thread.run_sync(_next, steps)
        except LlamactorError as error:
            status = status_of(error)
            return Response(error_body(Family.NATIVE, error.message, status), status=status, content_type=_JSON)
        return Response(_lines(first, steps), content_type=NDJSON)

    return routes


async def _lines(first: Progress | None, steps: Generator[Progress, None, None]) -> AsyncIterator[bytes]:
    """Give the progress lines; a failure is the last of them."""
    step = first
    try:
        while step is not None:
            yield to_json(step) + b"\n"
            step = await trio.to_thread.run_sync(_next, steps)
    except LlamactorError as error:
        yield error_body(Family.NATIVE, error.message, status_of(error)) + b"\n"
    finally:  # a client that leaves ends the child process that may be converting for it
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(steps.close)


def _next(steps: Iterator[Progress]) -> Progress | None:
    return next(steps, None)


def _last(steps: Iterator[Progress]) -> Progress | None:
    last = None
    for step in steps:
        last = step
    return last
