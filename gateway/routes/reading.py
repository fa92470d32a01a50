"""Reading requests: the current request with its type, and its JSON body."""

from collections.abc import Sequence
from functools import partial
from typing import TypeVar, cast

import trio
from quart import current_app, request

from gateway.connection import GatewayRequest
from gateway.content_encoding import unpacked
from gateway.wire.fields import parse_images
from gateway.wire.request_json import RequestBody, decode_body

_BIG_BODY_BYTES = 64 << 10

MISSING_BODY = "missing request body"
EOF = "EOF"

B = TypeVar("B", bound=RequestBody)


def current_request() -> GatewayRequest:
    """Give the request that this task serves."""
    return cast("GatewayRequest", request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001  # the proxy's only way


def speaks_anthropic() -> bool:
    """Tell whether the current request is one of Anthropic's clients, where a path is not Anthropic's alone."""
    return "anthropic-version" in request.headers


async def read_body(cls: type[B], *, if_empty: str = MISSING_BODY) -> B:
    """Read and decode the body of the current request; a big one is decoded in a worker thread.

    Raises:
        InvalidRequest: it is empty, no JSON, or has a field of the wrong type.
        RequestEntityTooLarge, RequestTimeout, UnsupportedMediaType: it does not come as it must.
        TooManyBodies: other bodies leave no room for it.
    """
    body = current_request().body
    try:
        raw = await _unpacked(await body.read())
        if len(raw) > _BIG_BODY_BYTES:
            return await trio.to_thread.run_sync(partial(decode_body, cls, raw, if_empty=if_empty))
        return decode_body(cls, raw, if_empty=if_empty)
    finally:
        body.release()


async def _unpacked(raw: bytes) -> bytes:
    encodings = request.headers.get("Content-Encoding", "")
    max_bytes = current_app.config["MAX_CONTENT_LENGTH"]
    if not encodings or not raw:
        return raw
    return await trio.to_thread.run_sync(partial(unpacked, raw, encodings, max_bytes=max_bytes))


async def read_images(images: Sequence[Sequence[str] | None]) -> list[tuple[bytes, ...]]:
    """Read the images, or sounds, of each message; many or big ones in a worker thread.

    Raises:
        InvalidRequest: one is not in standard base64.
    """
    if sum(len(image) for each in images for image in each or ()) > _BIG_BODY_BYTES:
        return await trio.to_thread.run_sync(lambda: [parse_images(each) for each in images])
    return [parse_images(each) for each in images]
