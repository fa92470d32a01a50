"""Access lines: one per request, at INFO for what changes or infers and at DEBUG for what is polled.

Hypercorn asks its logger once per request; building the line costs nothing when its level is off.
"""

import logging

from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.typing import ResponseSummary, WWWScope

from actors.log import get_logger

_POLLED_METHODS = {"GET", "HEAD", "OPTIONS"}
_SERVER_ERROR = 500

log = get_logger(__name__)


class AccessLog(Logger):
    """Stands in for Hypercorn's logger; its own messages go to our log as they are."""

    def __init__(self, config: Config) -> None:
        del config  # nothing in it concerns us
        self.access_logger = None
        self.error_logger = log

    async def access(self, request: WWWScope, response: ResponseSummary | None, request_time: float) -> None:
        """Log one finished request.

        Without a response Hypercorn means that the client has left; it says so too when the client closes right after
        the last byte, so `GatewayConnection` logs that, which knows.
        """
        if response is not None:
            log_access(request, response["status"], request_time)


def log_access(request: WWWScope, status: int, duration_s: float) -> None:
    """Write one access line."""
    method = str(request.get("method", ""))
    is_quiet = method in _POLLED_METHODS and status < _SERVER_ERROR
    client = request.get("client")
    log.log(
        logging.DEBUG if is_quiet else logging.INFO,
        "%d | %.3f ms | %s | %s %s",
        status,
        duration_s * 1e3,
        client[0] if client else "-",
        method,
        request["path"],
    )
