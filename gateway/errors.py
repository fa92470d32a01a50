"""Error codes as HTTP: the one table from `LlamactorError` to a status and a body in the shape of each API family.

Only this module knows statuses. A code that is not in the table takes its nearest ancestor's status, at last 500.
"""

import enum
import secrets

from actors import errors
from actors.errors import LlamactorError
from gateway.wire.json_text import to_json

_STATUS: dict[type[LlamactorError], int] = {
    errors.RequestError: 400,
    errors.ModelNotFound: 404,
    errors.NotAvailable: 501,
    errors.CapacityError: 503,
    errors.StoreError: 400,
    errors.BlobNotFound: 404,
    errors.InvalidManifest: 500,
    errors.StoreUnwritable: 500,
    errors.RegistryError: 500,
    errors.RemoteModelNotFound: 404,
    errors.AddressForbidden: 400,
    errors.Unauthorized: 401,
    errors.ReadingForbidden: 403,
    errors.UploadNotFound: 404,
    errors.UploadMisplaced: 416,
    errors.RunnerError: 500,
    errors.TransportError: 500,
    LlamactorError: 500,
}


class Family(enum.Enum):
    """The API families, by the shape of their errors."""

    NATIVE = "native"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    REGISTRY = "registry"


_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}

_REGISTRY_CODES = {
    400: "INVALID",
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "NOT_FOUND",
    416: "RANGE_INVALID",
    429: "TOOMANYREQUESTS",
    503: "UNAVAILABLE",
}


def family_of(path: str) -> Family:
    """Tell by the path in which shape a client expects errors."""
    if path.startswith("/v1/messages"):
        return Family.ANTHROPIC
    if path.startswith("/v2/"):
        return Family.REGISTRY
    return Family.OPENAI if path.startswith("/v1/") else Family.NATIVE


def status_of(error: LlamactorError) -> int:
    """Give the HTTP status of an error."""
    return next(_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS)


def retry_after_s(error: LlamactorError) -> int | None:
    """Give the value of `Retry-After`, or None where a retry cannot help."""
    seconds = error.fields.get("retry_after_s")
    return max(1, round(seconds)) if isinstance(seconds, int | float) else None


def request_id() -> str:
    """Give a request a name by which Anthropic's clients report it."""
    return f"req_{secrets.token_hex(12)}"


def error_body(family: Family, message: str, status: int, *, named: str = "") -> bytes:
    """Give the JSON body of an error, without a newline; `named` is the request's id where it has one already."""
    if family is Family.NATIVE:
        return to_json({"error": message})
    if family is Family.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(status, "api_error")
        error = {"type": kind, "message": message}
        return to_json({"type": "error", "error": error, "request_id": named or request_id()})
    if family is Family.REGISTRY:
        return to_json({"errors": [{"code": _REGISTRY_CODES.get(status, "UNKNOWN"), "message": message}]})
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
    return to_json({"error": {"message": message, "type": kind, "param": None, "code": None}})
