"""`/v2`: the store as a registry, for reading. Another llamactor, Ollama, or any client of registries pulls from it."""

import os
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import trio
from quart import Blueprint, Response, request

from actors.errors import ReadingForbidden
from gateway.gate import bare
from gateway.registry_access import RegistryAccess
from gateway.routes.answering import json_response
from gateway.wire.json_text import to_json
from gateway.worker import Worker
from registry.download.sums import sum_lines
from registry.manifests import MANIFEST
from registry.shelf import Shelf

_READ_BYTES = 2 << 20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_OK, _PARTIAL, _NOT_SATISFIABLE = 200, 206, 416
_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
_READ = ["GET", "HEAD"]


def registry_read_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("registry_read", __name__)
    shelf = Shelf(worker.models.store)
    access = RegistryAccess(worker.settings)

    def check() -> None:
        if not access.is_on:
            raise ReadingForbidden

    @routes.route("/v2/", methods=_READ)
    async def version() -> Response:
        check()
        response = json_response(b"{}")
        response.headers.update(_VERSION)
        return response

    @routes.route("/v2/<namespace>/<model>/tags/list", methods=_READ)
    async def tags(namespace: str, model: str) -> Response:
        check()
        found = await worker.models.in_thread(partial(shelf.tags, namespace, model))
        return json_response(to_json({"name": f"{namespace}/{model}", "tags": found}))

    @routes.route("/v2/<namespace>/<model>/manifests/<reference>", methods=_READ)
    async def manifest(namespace: str, model: str, reference: str) -> Response:
        check()
        shown = await worker.models.in_thread(partial(shelf.manifest, namespace, model, reference))
        response = Response(shown.content if request.method == "GET" else b"", content_type=MANIFEST)
        response.headers.update({"Docker-Content-Digest": shown.digest, "ETag": f'"{shown.digest}"'})
        response.headers["Content-Length"] = str(len(shown.content))
        return response

    @routes.route("/v2/<namespace>/<model>/blobs/<digest>", methods=_READ)
    async def blob(namespace: str, model: str, digest: str) -> Response:
        check()
        path, size = await worker.models.in_thread(partial(shelf.blob, namespace, model, digest))
        return await _blob_response(path, size, digest)

    @routes.get("/v2/<namespace>/<model>/chunksums/<digest>")
    async def sums(namespace: str, model: str, digest: str) -> Response:
        check()
        path, size = await worker.models.in_thread(partial(shelf.blob, namespace, model, digest))
        return Response(_sums(path, size), content_type="text/plain; charset=utf-8")

    return routes


async def _blob_response(path: Path, size: int, digest: str) -> Response:
    span = _asked_range(request.headers.get("Range", ""), size)
    headers = {"Accept-Ranges": "bytes", "Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
    if span is None:
        response = bare(_NOT_SATISFIABLE)
        response.headers["Content-Range"] = f"bytes */{size}"
        return response
    start, end = span
    is_part = (start, end) != (0, size) or "Range" in request.headers
    if is_part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    else:  # Ollama asks once where the bytes are, and takes none from an answer that does not say it
        headers["Location"] = f"{request.scheme}://{request.host}{request.path}"
    if request.method == "HEAD":
        response = bare(_OK)
    else:
        response = Response(_bytes_of(path, start, end), status=_PARTIAL if is_part else _OK)
    response.headers["Content-Type"] = "application/octet-stream"
    response.headers.update(headers)
    response.headers["Content-Length"] = str(end - start)
    return response


async def _bytes_of(path: Path, start: int, end: int) -> AsyncIterator[bytes]:
    fd = await trio.to_thread.run_sync(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while start < end:
            chunk = await trio.to_thread.run_sync(os.pread, fd, min(_READ_BYTES, end - start), start)
            if not chunk:
                return  # it became shorter; the client sees that the body is cut
            start += len(chunk)
            yield chunk
    finally:
        os.close(fd)


async def _sums(path: Path, size: int) -> AsyncIterator[bytes]:
    lines = sum_lines(path, size)
    while (line := await trio.to_thread.run_sync(partial(next, lines, None))) is not None:
        yield line


def _asked_range(header: str, size: int) -> tuple[int, int] | None:
    """Give first byte and end of what is asked for, None when there is no such range; several ranges give all."""
    found = _RANGE.fullmatch(header)
    if found is None or (not found[1] and not found[2]):
        return 0, size
    if not found[1]:
        return max(0, size - int(found[2])), size
    start, end = int(found[1]), min(int(found[2]) + 1 if found[2] else size, size)
    return (start, end) if start < end else None
