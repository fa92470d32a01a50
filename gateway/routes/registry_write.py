"""`/v2`: the store as a registry, for writing with a key: upload sessions, manifests, tokens."""

import re
from collections.abc import Mapping
from functools import partial

from quart import Blueprint, Response, request

from actors.errors import BlobNotFound, InvalidManifest, InvalidRequest, ReadingForbidden, StoreError, Unauthorized
from gateway.gate import bare
from gateway.registry_access import RegistryAccess
from gateway.request_body import RequestBody
from gateway.routes.answering import json_response
from gateway.routes.reading import current_request
from gateway.wire.json_text import to_json
from gateway.worker import Worker
from registry.digests import digest_of, parse_digest
from registry.manifests import LONGEST_MANIFEST_BYTES
from registry.offer import read_offer
from registry.shelf import Shelf
from registry.uploads import UploadPart, Uploads

_WRITE_BYTES = 1 << 20
_HOST = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,300}")
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/\S+)?")
_CREATED, _ACCEPTED, _NO_CONTENT = 201, 202, 204
_UPLOADS = "/v2/<namespace>/<model>/blobs/uploads"


class _Desk:
    """What the routes work with."""

    def __init__(self, worker: Worker) -> None:
        self.models = worker.models
        self.store = worker.models.store
        self.access = RegistryAccess(worker.settings)
        self.uploads = Uploads(self.store.blobs)
        self.shelf = Shelf(self.store)

    async def check(self, namespace: str, model: str) -> None:
        """Check that the request may write to a repository.

        Raises:
            ReadingForbidden: `/v2` is off.
            InvalidName: no repository's name.
            Unauthorized: it carries no token for it.
        """
        if not self.access.is_on:
            raise ReadingForbidden
        self.shelf.name(namespace, model, "latest")
        authorization = request.headers.get("Authorization", "")
        try:
            await self.models.in_thread(partial(self.access.check_write, authorization, f"{namespace}/{model}"))
        except Unauthorized as error:
            scope = f"repository:{namespace}/{model}:pull,push"
            error.fields["challenge"] = f'Bearer realm="{_own_url()}/v2/token",service="{request.host}",scope="{scope}"'
            raise


def registry_write_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("registry_write", __name__)
    desk = _Desk(worker)
    _add_token(routes, desk)
    _add_sessions(routes, desk)
    _add_manifests(routes, desk)
    return routes


def _add_token(routes: Blueprint, desk: _Desk) -> None:
    @routes.get("/v2/token")
    async def token() -> Response:
        if not desk.access.is_on:
            raise ReadingForbidden
        url = f"{_own_url()}/v2/token?{request.query_string.decode('latin1')}"
        ask = partial(
            desk.access.token,
            request.headers.get("Authorization", ""),
            url,
            scope=request.args.get("scope", ""),
            time_s=request.args.get("ts", ""),
        )
        return json_response(to_json({"token": await desk.models.in_thread(ask)}))


def _add_sessions(routes: Blueprint, desk: _Desk) -> None:
    @routes.post(f"{_UPLOADS}/")
    async def begin(namespace: str, model: str) -> Response:
        await desk.check(namespace, model)
        if mounted := await desk.models.in_thread(partial(_mounted, desk, request.args)):
            return _located(_CREATED, f"/v2/{namespace}/{model}/blobs/{mounted}")
        session = await desk.models.in_thread(desk.uploads.begin)
        return _session(_ACCEPTED, namespace, model, session, 0)

    @routes.get(f"{_UPLOADS}/<session>")
    async def status(namespace: str, model: str, session: str) -> Response:
        await desk.check(namespace, model)
        size = await desk.models.in_thread(partial(desk.uploads.size, session))
        return _session(_NO_CONTENT, namespace, model, session, size)

    @routes.patch(f"{_UPLOADS}/<session>")
    async def take_part(namespace: str, model: str, session: str) -> Response:
        await desk.check(namespace, model)
        size = await _take(desk, session)
        return _session(_ACCEPTED, namespace, model, session, size)

    @routes.put(f"{_UPLOADS}/<session>")
    async def commit(namespace: str, model: str, session: str) -> Response:
        await desk.check(namespace, model)
        digest = parse_digest(request.args.get("digest", ""))
        await _take(desk, session)
        await desk.models.in_thread(partial(desk.uploads.commit, session, digest))
        return _located(_CREATED, f"/v2/{namespace}/{model}/blobs/{digest}")

    @routes.delete(f"{_UPLOADS}/<session>")
    async def cancel(namespace: str, model: str, session: str) -> Response:
        await desk.check(namespace, model)
        await desk.models.in_thread(partial(desk.uploads.cancel, session))
        return bare(_NO_CONTENT)


def _add_manifests(routes: Blueprint, desk: _Desk) -> None:
    @routes.put("/v2/<namespace>/<model>/manifests/<tag>")
    async def put_manifest(namespace: str, model: str, tag: str) -> Response:
        await desk.check(namespace, model)
        name = desk.shelf.name(namespace, model, tag)
        content = await _small_body(current_request().body)
        try:
            read_offer(content)
            target = await desk.models.in_thread(partial(desk.store.spelling_of, name))
            await desk.models.in_thread(partial(desk.store.install, target, content))
        except InvalidManifest as error:
            raise InvalidRequest(error.message) from error
        except BlobNotFound as error:
            raise InvalidRequest(f"{error.fields['digest']} was not uploaded") from error
        response = _located(_CREATED, f"/v2/{namespace}/{model}/manifests/{tag}")
        response.headers["Docker-Content-Digest"] = digest_of(content)
        return response


def _mounted(desk: _Desk, asked: Mapping[str, str]) -> str:
    """Give the digest of a blob that another repository of ours is known to have; nothing without one."""
    namespace, _, model = asked.get("from", "").partition("/")
    try:
        desk.shelf.blob(namespace, model, asked.get("mount", ""))
        digest = parse_digest(asked["mount"])
    except StoreError:
        return ""
    return digest if desk.store.blobs.touch(digest) else ""


async def _take(desk: _Desk, session: str) -> int:
    """Append the request's body to a session and give how much has come in all."""
    found = _CONTENT_RANGE.fullmatch(request.headers.get("Content-Range", ""))
    with desk.uploads.part(session, int(found[1]) if found else None) as part:
        await _write_all(desk, part, current_request().body)
        return part.size_bytes


async def _write_all(desk: _Desk, part: UploadPart, body: RequestBody) -> None:
    gathered = bytearray()
    while chunk := await body.receive():
        gathered += chunk
        if len(gathered) >= _WRITE_BYTES:
            await desk.models.in_thread(partial(part.write, bytes(gathered)))
            gathered.clear()
    if gathered:
        await desk.models.in_thread(partial(part.write, bytes(gathered)))


async def _small_body(body: RequestBody) -> bytes:
    content = bytearray()
    while chunk := await body.receive():
        content += chunk
        if len(content) > LONGEST_MANIFEST_BYTES:
            raise InvalidRequest("the manifest is too long")
    return bytes(content)


def _session(status: int, namespace: str, model: str, session: str, size: int) -> Response:
    response = _located(status, f"/v2/{namespace}/{model}/blobs/uploads/{session}")
    response.headers["Docker-Upload-UUID"] = session
    response.headers["Range"] = f"0-{max(size - 1, 0)}"
    return response


def _located(status: int, path: str) -> Response:
    response = bare(status)
    response.headers["Location"] = f"{_own_url()}{path}"
    return response


def _own_url() -> str:
    """Give our root URL as the client knows it, also behind a proxy that speaks TLS for us."""
    if not _HOST.fullmatch(request.host):
        raise InvalidRequest("the Host header is no host")
    forwarded = request.headers.get("X-Forwarded-Proto", "")
    scheme = forwarded if forwarded in {"http", "https"} else request.scheme
    return f"{scheme}://{request.host}"
