"""Who asks, for the queue: on whose account a request goes, and how urgent it says it is.

The account is that of the API key where one is sent, else that of the client's address. A key is never passed on:
its mark is the beginning of its hash.
"""

import hashlib
import re
from dataclasses import dataclass

from actors.errors import InvalidRequest
from gateway.connection import GatewayRequest

_MARK_DIGITS = 12
_NAMED = {"low": -2, "normal": 0, "high": 2}
_PRIORITY = re.compile(r"[+-]?[0-5]")


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant of a request and its priority, -5 to 5."""

    tenant: str = ""
    priority: int = 0


def caller_of(request: GatewayRequest) -> Caller:
    """Tell who makes a request.

    Raises:
        InvalidRequest: `X-Priority` is none.
    """
    return Caller(_tenant(request), _priority(request.headers.get("X-Priority", "")))


def _tenant(request: GatewayRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else request.headers.get("X-Api-Key", "")
    if key:
        return f"key:{hashlib.sha256(key.encode(errors='replace')).hexdigest()[:_MARK_DIGITS]}"
    return f"address:{request.remote_addr or ''}"


def _priority(text: str) -> int:
    text = text.strip().lower()
    if not text:
        return 0
    if text in _NAMED:
        return _NAMED[text]
    if not _PRIORITY.fullmatch(text):
        raise InvalidRequest("X-Priority must be a whole number from -5 to 5, or low, normal or high")
    return int(text)
