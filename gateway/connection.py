"""One request over ASGI: mends what quart-trio does when a response ends, and ties a request's work to its client.

As a response ends, Hypercorn reports a disconnect. quart-trio 0.12 cancels the request on that, and the cancellation
hits Hypercorn before it closes the connection: after `Connection: close`, and for HTTP/1.0, it then stays open for
ever. So a disconnect cancels here only while the answer is incomplete, which means that the client has left.

Answers are written from here, with the shorter ways of `ClientConnection` where they lead.

What a route enters into `GatewayRequest.on_end` is undone when the request is over, however it ends. A route cannot
use a `with` block for that, because a streamed answer is written after the route has returned.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVarTuple
from urllib.parse import urlparse

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable
from quart import Response
from quart.typing import ResponseTypes
from quart.utils import encode_headers
from quart.wrappers.response import DataBody
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from werkzeug.datastructures import Headers

from gateway.access_log import log_access
from gateway.client_connection import CONNECTION, ClientConnection
from gateway.request_body import RequestBody
from gateway.request_headers import RequestHeaders
from gateway.request_tasks import Inbox, RequestTasks

Arguments = TypeVarTuple("Arguments")

BODY_BUDGET = "BODY_BUDGET"
"""Key of the app's configuration under which the `BodyBudget` of the worker stands."""
_CLIENT_LEFT = 499
"""As nginx and Ollama log it; nobody receives it."""


class GatewayRequest(TrioRequest):
    """A request whose body has backpressure, with an exit stack of its own."""

    body_class = RequestBody  # type: ignore[assignment]  # read by our routes alone, through their own interface
    body: RequestBody  # type: ignore[assignment]  # the same

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_end = contextlib.ExitStack()
        self.arrived_at = trio.current_time()
        self._scope = trio.CancelScope()
        self._tasks: RequestTasks | None = None

    @property
    def blueprints(self) -> list[str]:
        """Name none: every check and error handler of ours is the app's."""
        return []

    def serve_among(self, tasks: RequestTasks) -> trio.CancelScope:
        """Take the tasks of the connection; give the scope in which this request is served."""
        self._tasks = tasks
        return self._scope

    def start_soon(self, task: Callable[[*Arguments], Awaitable[None]], *arguments: *Arguments) -> None:
        """Start a task that ends with this request; a bug in it ends the request."""
        assert self._tasks is not None  # set before any route runs  # noqa: S101
        scope = trio.CancelScope()
        self.on_end.callback(scope.cancel)
        self._tasks.start_beside(scope, self._scope.cancel, task, *arguments)


class BegunResponse(Response):
    """A streamed answer whose first piece is there: it leaves together with the head."""


class GatewayConnection(TrioASGIHTTPConnection):
    """Runs one request and its answer."""

    _is_answered = False
    _request: GatewayRequest
    _scope: trio.CancelScope

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve the request until its answer is written or its client has left.

        Cancellation: undoes what the request has entered into its `on_end`.
        """
        request = self._request_of_scope()
        assert isinstance(receive, Inbox)  # our connections' own  # noqa: S101
        self._request = request
        request.body.budget = self.app.config[BODY_BUDGET]
        with request.on_end:
            request.on_end.callback(request.body.release)
            with request.serve_among(receive.tasks) as self._scope:
                receive.forward_to(self)
                response = await self.app.handle_request(request)
                await request.body.read_leftover()
                await self._send_response(send, response)

    def _request_of_scope(self) -> GatewayRequest:
        """Give the request as Quart does, with headers that are quicker to find."""
        scope, path = self.scope, self.scope["path"]
        client = scope.get("client")
        return GatewayRequest(
            scope["method"],
            scope["scheme"],
            path if path.startswith("/") else urlparse(path).path,
            scope["query_string"],
            RequestHeaders(scope["headers"], remote_addr=client[0] if client else "<local>"),
            "",
            scope["http_version"],
            scope,
            max_content_length=self.app.config["MAX_CONTENT_LENGTH"],
            send_push_promise=_push_nothing,
        )

    def take(self, message: ASGIReceiveEvent) -> None:
        """Take what the client sends: feed the request's body, or cancel the request when its client leaves early."""
        if message["type"] == "http.request":
            self._request.body.add(message.get("body", b""), more=message.get("more_body", False))
        elif message["type"] == "http.disconnect" and not self._is_answered:
            log_access(self.scope, _CLIENT_LEFT, trio.current_time() - self._request.arrived_at)
            self._scope.cancel()

    async def has_room(self) -> None:
        """Wait until the request's body takes more."""
        await self._request.body.has_room()

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        """Write an answer: one that is whole, or has begun, with its head in one piece."""
        assert isinstance(response, Response)  # no route gives one of Werkzeug's  # noqa: S101
        connection, body = self._client_connection, response.response
        if isinstance(body, DataBody) or isinstance(response, BegunResponse):
            connection.hold()
        try:
            headers = encode_headers(response.headers)
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            if isinstance(body, DataBody):
                await self._send_last(send, body.data)
                return
            can_chunk = "Content-Length" not in response.headers and self.scope["method"] != "HEAD"
            writes_chunks = can_chunk and connection.writes_chunks()
            async with body as pieces:
                async for piece in pieces:
                    if writes_chunks:
                        await connection.write_chunk(piece)
                    else:
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                    await connection.let_go()
            await self._send_last(send, b"")
        finally:
            await connection.let_go()

    async def _send_last(self, send: ASGISendCallable, data: bytes) -> None:
        self._is_answered = True
        self._request.body.discard()
        await send({"type": "http.response.body", "body": data, "more_body": False})

    @property
    def _client_connection(self) -> ClientConnection:
        connection: ClientConnection = self.scope["state"][CONNECTION]
        return connection


async def _push_nothing(_path: str, _headers: Headers) -> None:
    """Stand where a request could push an answer that nobody has asked for."""
