"""The model store over HTTP: `/api/tags`, `/api/show`, `/api/copy`, `/api/delete`."""

from functools import partial
from typing import Any

from quart import Blueprint, Response

from actors.errors import InvalidName, InvalidRequest, LlamactorError, ModelNameRequired, ModelNotFound
from gateway.gate import bare
from gateway.routes.answering import json_response
from gateway.routes.reading import read_body
from gateway.wire.json_text import to_json
from gateway.wire.native_requests import CopyRequest, DeleteRequest, ShowRequest
from gateway.worker import Worker
from registry.capabilities import listed_capabilities
from registry.details import details_of, listed_details
from registry.model import InstalledModel
from registry.names import ModelName, parse_name
from registry.parameters import merged_options
from registry.show import show
from registry.store import Store


def store_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("store", __name__)
    store = worker.models.store

    listing = _Listing(store)

    @routes.get("/api/tags")
    async def tags() -> Response:
        return json_response(await worker.models.in_thread(listing.tags))

    @routes.post("/api/show")
    async def show_model() -> Response:
        body = await read_body(ShowRequest)
        if not body.model_name:
            raise ModelNameRequired
        return json_response(await worker.models.in_thread(partial(_show, store, body)))

    @routes.post("/api/copy")
    async def copy() -> Response:
        body = await read_body(CopyRequest)
        await worker.models.in_thread(partial(_copy, store, body.source or "", body.destination or ""))
        return bare(200)

    @routes.delete("/api/delete")
    async def delete() -> Response:
        body = await read_body(DeleteRequest)
        if not body.model_name:
            raise ModelNameRequired
        await worker.models.in_thread(partial(_delete, store, body.model_name))
        return bare(200)

    return routes


class _Listing:
    """What `/api/tags` answers; an entry is made once per model, for as long as its manifest stays the same."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[ModelName, tuple[InstalledModel, bytes]] = {}

    def tags(self) -> bytes:
        before, known = self._known, {}
        for model in self._store.list():
            entry = before.get(model.name)
            if entry is None or entry[0] is not model:
                entry = model, to_json(_tag(self._store, model))
            known[model.name] = entry
        self._known = known  # of two threads that list at once the later one's stays; either is right
        return b'{"models":[' + b",".join(raw for _, raw in known.values()) + b"]}"


def _tag(store: Store, model: InstalledModel) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": model.name.shortest,
        "model": model.name.shortest,
        "modified_at": model.modified_rfc3339,
        "size": model.size_bytes,
        "digest": model.digest,
    }
    try:
        head = store.gguf_head(model)
        return entry | {"details": listed_details(model, head), "capabilities": listed_capabilities(model, head)}
    except LlamactorError:  # a damaged model is listed all the same, so that it can be found and deleted
        return entry | {"details": details_of(model)}


def _show(store: Store, body: ShowRequest) -> bytes:
    merged_options({}, body.options)  # raises for what no model could be made with
    model = store.resolve(body.model_name)
    reply = show(
        model, store.gguf(model), verbose=bool(body.verbose), system=body.system or None, options=body.options or None
    )
    return to_json(reply)


def _copy(store: Store, source: str, destination: str) -> None:
    for role, name in (("source", source), ("destination", destination)):
        try:
            parse_name(name)
        except InvalidName as error:
            raise InvalidRequest(f'{role} "{name}" is invalid') from error
    try:
        store.copy(source, destination)
    except ModelNotFound as error:
        error.message = f'model "{source}" not found'
        raise


def _delete(store: Store, name: str) -> None:
    try:
        store.delete(name)
    except InvalidName as error:
        raise InvalidRequest(f'name "{name}" is invalid') from error
