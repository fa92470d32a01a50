"""One request over ASGI: mends what quart-trio does when a response ends, and ties a request's work to its client.

As a response ends, Hypercorn reports a disconnect. quart-trio 0.12 cancels the request on that, and the cancellation
hits Hypercorn before it closes the connection: after `Connection: close`, and for HTTP/1.0, it then stays open for
ever. So a disconnect cancels here only while the answer is incomplete, which means that the client has left.

What a route enters into `GatewayRequest.on_end` is undone when the request is over, however it ends. A route cannot
use a `with` block for that, because a streamed answer is written after the route has returned.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVarTuple

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent
from quart.wrappers import Request
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest

from gateway.access_log import log_access
from gateway.request_body import RequestBody

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
        self._nursery: trio.Nursery | None = None

    def serve_in(self, nursery: trio.Nursery) -> None:
        """Take the nursery that ends with this request."""
        self._nursery = nursery

    def start_soon(self, task: Callable[[*Arguments], Awaitable[None]], *arguments: *Arguments) -> None:
        """Start a task that ends with this request."""
        assert self._nursery is not None  # set before any route runs  # noqa: S101
        self._nursery.start_soon(task, *arguments)


class GatewayConnection(TrioASGIHTTPConnection):
    """Runs one request and its answer."""

    _is_answered = False

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve the request until its answer is written or its client has left.

        Cancellation: undoes what the request has entered into its `on_end`.
        """
        request = self._create_request_from_scope(send)
        assert isinstance(request, GatewayRequest)  # the app's request_class  # noqa: S101

        async def watched_send(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._is_answered = True
                request.body.discard()
            await send(message)

        request.body.budget = self.app.config[BODY_BUDGET]
        with request.on_end:
            request.on_end.callback(request.body.release)
            async with trio.open_nursery() as nursery:
                request.serve_in(nursery)
                nursery.start_soon(self.handle_messages, nursery, request, receive)
                nursery.start_soon(self.handle_request, nursery, request, watched_send)

    async def handle_messages(  # type: ignore[override]  # quart-trio's own signature differs from Quart's
        self, nursery: trio.Nursery, request: GatewayRequest, receive: ASGIReceiveCallable
    ) -> None:
        """Feed the request's body; cancel the request when its client leaves early."""
        while True:
            message = await receive()
            if message["type"] == "http.request":
                await request.body.feed(message.get("body", b""), more=message.get("more_body", False))
            elif message["type"] == "http.disconnect":
                if not self._is_answered:
                    log_access(self.scope, _CLIENT_LEFT, trio.current_time() - request.arrived_at)
                    nursery.cancel_scope.cancel()
                return

    async def handle_request(  # type: ignore[override]  # quart-trio's own signature differs from Quart's
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        """Answer the request, without a limit on how long the answer may take."""
        assert isinstance(request, GatewayRequest)  # the app's request_class  # noqa: S101
        response = await self.app.handle_request(request)
        await request.body.read_leftover()
        await self._send_response(send, response)
        nursery.cancel_scope.cancel()
