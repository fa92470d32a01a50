"""The gate before every route: who may call from a browser, under which host name, and whether we still take requests.

Order: CORS, then the `Host` check (only when bound to a loopback address, against DNS rebinding), then draining.
"""

from quart import Response, request

from gateway import origins
from gateway.origins import Origins

PREFLIGHT_MAX_AGE_S = 12 * 3600


class Gate:
    """The checks of one worker."""

    def __init__(self, configured_origins: tuple[str, ...], *, checks_host: bool) -> None:
        """Take what `OLLAMA_ORIGINS` lists.

        Raises:
            InvalidRequest: an entry cannot be an origin.
        """
        self._origins = Origins(configured_origins)
        self._checks_host = checks_host

    def answer(self) -> Response | None:
        """Give the answer to a request that may not pass, or that is answered here; None lets it through."""
        origin = _foreign_origin()
        if origin is not None:
            if not self._origins.allows(origin):
                return bare(403)
            if request.method == "OPTIONS":
                return _preflight()
        return self._answer_by_host() if self._checks_host else None

    def add_headers(self, response: Response) -> None:
        """Tell a browser that its page may read the answer."""
        origin = _foreign_origin()
        if origin is None or not self._origins.allows(origin):
            return
        if self._origins.allows_all:
            response.headers["Access-Control-Allow-Origin"] = "*"
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers.setdefault("Vary", "Origin")

    def _answer_by_host(self) -> Response | None:
        name = origins.host_without_port(request.headers.get("Host", ""))
        if request.method == "OPTIONS" and origins.is_local_name(name):
            return bare(204)
        return None if origins.is_local_address(name) or origins.is_local_name(name) else bare(403)


def bare(status: int) -> Response:
    """Give an answer without a body or a type."""
    response = Response(b"", status=status)
    del response.headers["Content-Type"]
    return response


def _foreign_origin() -> str | None:
    """Give the origin of the calling page, None for no page and for one of our own."""
    headers = request.headers
    origin = headers.get("Origin")
    if origin is None:
        return None
    host = headers.get("Host", "")
    return None if origin in {f"http://{host}", f"https://{host}"} else origin


def _preflight() -> Response:
    response = bare(204)
    response.headers["Access-Control-Allow-Methods"] = origins.ALLOWED_METHODS
    response.headers["Access-Control-Allow-Headers"] = origins.ALLOWED_HEADERS
    response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_MAX_AGE_S)
    response.headers["Vary"] = "Access-Control-Request-Headers"
    return response
