"""Access lines: one per request, at INFO for what changes or infers and at DEBUG for what is polled.

Hypercorn asks its logger once per request; building the line costs nothing when its level is off.
"""

import logging

from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.typing import ResponseSummary, WWWScope

from actors.log import get_logger

_POLLED_METHODS = {"GET", "HEAD", "OPTIONS"}
_CLIENT_LEFT = 499
_SERVER_ERROR = 500

log = get_logger(__name__)


class AccessLog(Logger):
    """Stands in for Hypercorn's logger; its own messages go to our log as they are."""

    def __init__(self, config: Config) -> None:
        del config  # nothing in it concerns us
        self.access_logger = None
        self.error_logger = log

    async def access(self, request: WWWScope, response: ResponseSummary | None, request_time: float) -> None:
        """Log one finished request; without a response, the client left before it began."""
        method = str(request.get("method", ""))
        status = response["status"] if response is not None else _CLIENT_LEFT
        is_quiet = method in _POLLED_METHODS and status < _SERVER_ERROR
        client = request.get("client")
        log.log(
            logging.DEBUG if is_quiet else logging.INFO,
            "%d | %.3f ms | %s | %s %s",
            status,
            request_time * 1e3,
            client[0] if client else "-",
            method,
            request["path"],
        )
