"""`HEAD` and `POST /api/blobs/{digest}`: uploads of any size, hashed and written while they arrive."""

from functools import partial

from quart import Blueprint, Response

from actors.errors import BlobNotFound
from gateway.gate import bare
from gateway.request_body import RequestBody
from gateway.routes.reading import current_request
from gateway.worker import Worker
from registry.blobs import BlobWriter
from registry.digests import parse_digest

_WRITE_BYTES = 1 << 20
"""So much is gathered before it is handed to a worker thread, whose round trip costs 0.1 ms."""


def blob_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("blobs", __name__)
    blobs = worker.models.store.blobs

    @routes.route("/api/blobs/<digest>", methods=["HEAD"])
    async def has_blob(digest: str) -> Response:
        wanted = parse_digest(digest)
        if not await worker.models.in_thread(partial(blobs.exists, wanted)):
            raise BlobNotFound(wanted)
        return bare(200)

    @routes.post("/api/blobs/<digest>")
    async def upload(digest: str) -> Response:
        wanted = parse_digest(digest)
        if await worker.models.in_thread(partial(blobs.touch, wanted)):
            return bare(200)
        writer = await worker.models.in_thread(blobs.writer)
        with writer:
            await _write_all(worker, writer, current_request().body)
            await worker.models.in_thread(partial(writer.commit, wanted))
        return bare(201)

    return routes


async def _write_all(worker: Worker, writer: BlobWriter, body: RequestBody) -> None:
    gathered = bytearray()
    while chunk := await body.receive():
        gathered += chunk
        if len(gathered) >= _WRITE_BYTES:
            await worker.models.in_thread(partial(writer.write, bytes(gathered)))
            gathered.clear()
    if gathered:
        await worker.models.in_thread(partial(writer.write, bytes(gathered)))
