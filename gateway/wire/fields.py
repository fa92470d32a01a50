"""Fields that several routes share: `keep_alive`, `think`, `format`, `images`, reasoning effort."""

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from actors.durations import parse_duration_s
from actors.errors import InvalidRequest
from actors.settings import FOREVER_S

THINK_LEVELS = ("high", "medium", "low", "max")
MAX_TOP_LOGPROBS = 20
_THINK_CHOICES = '"high", "medium", "low", "max", true, or false'
_EFFORTS: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}


def parse_keep_alive_s(value: Any) -> float | None:
    """Read `keep_alive`: seconds, a Go duration or null; negative means for ever.

    Raises:
        InvalidRequest: it is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidRequest(f"Unsupported type: '{_go_kind(value)}'")
    if isinstance(value, int):
        value = max(-1, min(value, math.ceil(FOREVER_S)))  # JSON bounds no number, a float does
    seconds = parse_duration_s(value) if isinstance(value, str) else float(value)
    return min(seconds, FOREVER_S) if seconds >= 0 else FOREVER_S


def parse_think(value: Any) -> bool | str | None:
    """Read `think`: a boolean, a level or null.

    Raises:
        InvalidRequest: it is something else.
    """
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise InvalidRequest(f"think must be a boolean or string ({_THINK_CHOICES})")
    if value not in THINK_LEVELS:
        raise InvalidRequest(f'invalid think value: "{value}" (must be {_THINK_CHOICES})')
    return value


def parse_effort(value: str) -> bool | str | None:
    """Read OpenAI's reasoning effort as a `think` value; an empty text leaves it open.

    Raises:
        InvalidRequest: no such effort.
    """
    if not value:
        return None
    if value not in _EFFORTS:
        raise InvalidRequest(
            f'invalid reasoning value: "{value}" (must be "minimal", "low", "medium", "high", "xhigh", "ultra", '
            '"max", or "none")'
        )
    return _EFFORTS[value]


def has_format(raw: bytes) -> bool:
    """Tell whether a raw `format` value asks for a constraint.

    Raises:
        InvalidRequest: it is neither empty, nor "json", nor an object.
    """
    if raw in {b"", b"null", b'""'}:
        return False
    if raw == b'"json"' or raw.startswith(b"{"):
        return True
    quoted = raw.decode(errors="replace").replace("\\", "\\\\").replace('"', '\\"')
    raise InvalidRequest(f'invalid format: "{quoted}"; expected "json" or a valid JSON Schema object')


def check_top_logprobs(value: int | None) -> None:
    """Check the range of `top_logprobs`.

    Raises:
        InvalidRequest: it is outside of it.
    """
    if not 0 <= (value or 0) <= MAX_TOP_LOGPROBS:
        raise InvalidRequest(f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}")


def n_top_logprobs(*, wanted: bool | None, n_top: int | None) -> int | None:
    """Give how many of the likeliest tokens to tell beside each; None where no log probabilities are wanted at all."""
    return (n_top or 0) if wanted else None


def parse_images(images: Sequence[str] | None) -> tuple[bytes, ...]:
    """Read images, or sounds, which are in standard base64.

    Raises:
        InvalidRequest: one is not.
    """
    return tuple(parse_image(image) for image in images or ())


def parse_image(image: str) -> bytes:
    """Read one image, or sound, from standard base64.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"illegal base64 data at input byte {_first_bad_byte(image)}") from error


def raw_bytes(value: msgspec.Raw) -> bytes:
    """Give the JSON text of a raw field."""
    return bytes(value)


def _first_bad_byte(text: str) -> int:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return next((i for i, character in enumerate(text) if character not in alphabet), len(text))


def _go_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "[]interface {}" if isinstance(value, list) else "map[string]interface {}"
