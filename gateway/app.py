"""The Quart app: routes, the checks before them, and errors in the shape of the family that was asked."""

import functools
import logging
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

from quart import Response, request
from quart.ctx import AppContext, RequestContext
from quart.globals import _cv_app, _cv_request
from quart.routing import QuartRule
from quart.sessions import NullSession
from quart.typing import ResponseReturnValue, ResponseTypes
from quart.wrappers import Request
from quart_trio import QuartTrio
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)
from werkzeug.routing import MapAdapter, RequestRedirect

from actors.errors import CapacityError, Draining, InvalidRequest, LlamactorError, NotAvailable
from actors.log import get_logger
from gateway.body_budget import BodyBudget
from gateway.connection import BODY_BUDGET, GatewayConnection, GatewayRequest
from gateway.errors import Family, error_body, family_of, request_id, retry_after_s, status_of
from gateway.gate import Gate, bare
from gateway.origins import is_loopback
from gateway.routes.every import blueprints
from gateway.routes.reading import speaks_anthropic
from gateway.worker import Worker

_BODIES_AT_ONCE = 4
"""Of the largest size; of smaller ones as many as take the same memory."""
_TEXT = "text/plain"
_SERVER_ERROR = 500
_NOT_FOUND = "404 page not found"
_NOT_ALLOWED = "405 method not allowed"

_PLAIN_TEXTS: dict[type[HTTPException], str] = {
    RequestEntityTooLarge: "the request body is too large",
    RequestTimeout: "the request body did not come in time",
}

_NO_SESSION = NullSession()

log = get_logger(__name__)


class GatewayApp(QuartTrio):
    """Quart without what none of our routes uses, and each request would pay for: sessions, plain functions."""

    def ensure_async(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Give the function as it is: every route, check and error handler of ours is a coroutine function."""
        return func

    def request_context(self, request: Request) -> RequestContext:
        """Make the context of a request."""
        return _Context(self, request)

    async def full_dispatch_request(self, request_context: RequestContext | None = None) -> ResponseTypes:
        """Answer a request as Quart does, without the signals that nobody hears."""
        result: ResponseReturnValue | HTTPException | None
        try:
            result = await self.preprocess_request(request_context)
            if result is None:
                result = await self.dispatch_request(request_context)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  # as there: each has its handler
            result = await self.handle_user_exception(error)
        response = await self.make_response(cast("ResponseReturnValue", result))  # which takes an HTTPException, too
        return await self.process_response(response, request_context)

    @functools.cached_property
    def context(self) -> AppContext:
        """The context of the app, one for all requests: none keeps anything in it."""
        return self.app_context()

    @functools.cached_property
    def any_adapter(self) -> MapAdapter:
        """An adapter of URLs for requests that need none of their own."""
        return self.url_map.bind("")

    @functools.cached_property
    def fixed_rules(self) -> dict[tuple[str, str], QuartRule]:
        """The rules of paths without variables, by method and path; routes are not added once requests come."""
        rules = [each for each in self.url_map.iter_rules() if isinstance(each, QuartRule) and not each.arguments]
        return {(method, rule.rule): rule for rule in rules for method in rule.methods or ()}


class _Context(RequestContext):
    """The context of a request: it has no session, and an adapter of URLs only where the path has variables."""

    app: GatewayApp

    def __init__(self, app: GatewayApp, request: Request) -> None:
        self.app = app
        self.request_websocket = request
        self.url_adapter = app.any_adapter
        self.session = _NO_SESSION
        self.preserved = False
        self.flashes = None
        self._cv_tokens = []
        self._after_request_functions = []
        request.routing_exception = None
        request.json_module = app.json

    async def push(self) -> None:
        """Make this the request of the running task, whose only one it is."""
        _cv_request.set(self)
        _cv_app.set(self.app.context)
        self.match_request()

    async def pop(self, exc: BaseException | None = None) -> None:
        """Do nothing: the task ends, and what it has set with it."""

    def match_request(self) -> None:
        """Find the route of a request."""
        request = self.request
        rule = self.app.fixed_rules.get((request.method, request.path))
        if rule is not None:
            request.url_rule, request.view_args = rule, {}
            return
        self.url_adapter = self.app.create_url_adapter(request)
        super().match_request()


def create_app(worker: Worker) -> QuartTrio:
    """Build the app of one gateway worker.

    Raises:
        InvalidRequest: `OLLAMA_ORIGINS` has an entry that cannot be an origin.
    """
    app = GatewayApp("gateway", static_folder=None, template_folder=None)
    app.request_class = GatewayRequest
    app.asgi_http_class = GatewayConnection
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["BODY_TIMEOUT"] = None  # the body has an idle deadline of its own
    app.config["MAX_CONTENT_LENGTH"] = worker.settings.max_body_bytes
    app.config[BODY_BUDGET] = BodyBudget(_BODIES_AT_ONCE * worker.settings.max_body_bytes)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.strict_slashes = True
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False
    for blueprint in blueprints(worker):
        app.register_blueprint(blueprint)
    _add_gate(app, worker)
    _add_error_handlers(app)
    return app


def error_response(error: LlamactorError) -> Response:
    """Answer with an error in the shape of the family that was asked."""
    family, status = _asked_family(), status_of(error)
    named = request_id()
    body = error_body(family, error.message, status, named=named)
    content_type = "application/json; charset=utf-8"
    if family is not Family.NATIVE and not isinstance(error, InvalidRequest):  # what was found before dispatch differs
        body, content_type = body + b"\n", "application/json"
    response = Response(body, status=status, content_type=content_type)
    if family is Family.ANTHROPIC:
        response.headers["request-id"] = named
    challenge = error.fields.get("challenge")
    if challenge:
        response.headers["WWW-Authenticate"] = str(challenge)
    seconds = retry_after_s(error)
    if seconds is not None:
        response.headers["Retry-After"] = str(seconds)
    if isinstance(error, NotAvailable):
        response.headers["X-Should-Retry"] = "false"  # OpenAI's clients retry any other 5xx
    return response


def _asked_family() -> Family:
    if request.path.startswith("/v1/models") and speaks_anthropic():
        return Family.ANTHROPIC
    return family_of(request.path)


def _add_gate(app: QuartTrio, worker: Worker) -> None:
    gate = Gate(worker.settings.origins, checks_host=is_loopback(worker.settings.host))

    @app.before_request
    async def check() -> Response | None:
        return gate.answer() or (error_response(Draining()) if worker.is_draining() else None)

    @app.after_request
    async def finish(response: Response) -> Response:
        gate.add_headers(response)
        if worker.is_draining() and request.http_version != "2":  # which forbids the header, and closes otherwise
            response.headers["Connection"] = "close"
        return response


def _add_error_handlers(app: QuartTrio) -> None:
    @app.errorhandler(LlamactorError)
    async def on_known_error(error: LlamactorError) -> Response:
        is_ours = status_of(error) >= _SERVER_ERROR and not isinstance(error, CapacityError | NotAvailable)
        log.log(logging.ERROR if is_ours else logging.DEBUG, "%s: %s", request.path, error.message)
        return error_response(error)

    @app.errorhandler(NotFound)
    async def on_not_found(_error: NotFound) -> Response:
        return _redirect_without_slash(app) or Response(_NOT_FOUND, status=404, content_type=_TEXT)

    @app.errorhandler(MethodNotAllowed)
    async def on_wrong_method(error: MethodNotAllowed) -> Response:
        response = Response(_NOT_ALLOWED, status=405, content_type=_TEXT)
        response.headers["Allow"] = ", ".join(
            sorted(set(error.valid_methods or ()) - {"OPTIONS"}, key=lambda method: (method != "HEAD", method))
        )
        return response

    @app.errorhandler(HTTPException)
    async def on_http_error(error: HTTPException) -> Response:
        if isinstance(error, RequestRedirect):
            return Response(b"", status=error.code, headers={"Location": error.new_url})
        status = error.code or 500
        message = _PLAIN_TEXTS.get(type(error)) or error.name.lower()
        if isinstance(error, UnsupportedMediaType):
            message = error.description or message
        body = error_body(_asked_family(), message, status)
        return Response(body, status=status, content_type="application/json; charset=utf-8")

    @app.errorhandler(Exception)
    async def on_bug(error: Exception) -> Response:
        log.error("a request failed by a bug: %s %s", request.method, request.path, exc_info=error)
        body = error_body(_asked_family(), "internal server error", 500)
        return Response(body, status=500, content_type="application/json; charset=utf-8")


def _redirect_without_slash(app: QuartTrio) -> Response | None:
    path = request.path.rstrip("/")
    if not request.path.endswith("/") or not path:
        return None
    methods = app.url_map.bind("").allowed_methods(path)
    if request.method not in methods:
        return None
    target = quote(path, safe="/:@")  # it is anybody's text, which stands in a header and in HTML
    if request.method not in {"GET", "HEAD"}:
        response = bare(307)
    else:
        body = f'<a href="{target}">Moved Permanently</a>.\n\n'
        response = Response(body, status=301, content_type="text/html; charset=utf-8")
    response.headers["Location"] = target
    return response
