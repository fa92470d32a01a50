"""JSON as the API prints it: HTML-escaped, times in RFC 3339 with nanoseconds.

`<`, `>` and `&` can occur in JSON only inside strings, so they are escaped in the finished text. So are U+2028 and
U+2029, as Go does.
"""

import time
from datetime import UTC, datetime
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_NS = 1_000_000_000
_second = -1
_second_text = ""


def to_json(value: Any) -> bytes:
    """Encode a value to HTML-escaped JSON."""
    return escape_html(_encoder.encode(value))


def escape_html(text: bytes) -> bytes:
    """Escape what a browser could take for markup; most texts have none of it and come back as they are."""
    if b"<" in text:
        text = text.replace(b"<", b"\\u003c")
    if b">" in text:
        text = text.replace(b">", b"\\u003e")
    if b"&" in text:
        text = text.replace(b"&", b"\\u0026")
    if b"\xe2\x80" in text:
        text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return text


def utc_now() -> str:
    """Print the wall clock as RFC 3339 in UTC with nanoseconds, trailing zeros cut as Go cuts them."""
    return utc_text(time.time_ns())


def utc_text(time_ns: int) -> str:
    """Print nanoseconds since the epoch as RFC 3339 in UTC."""
    global _second, _second_text  # noqa: PLW0603  # the second's text is the costly part of every streamed line
    second, nanoseconds = divmod(time_ns, _NS)
    if second != _second:
        _second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _second = second
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{_second_text}{fraction}Z"


def local_text(time_ns: int) -> str:
    """Print nanoseconds since the epoch as RFC 3339 in the server's zone."""
    second, nanoseconds = divmod(time_ns, _NS)
    moment = datetime.fromtimestamp(second, UTC).astimezone()
    offset = moment.strftime("%z")
    zone = "Z" if offset in {"+0000", "-0000", ""} else f"{offset[:3]}:{offset[3:5]}"
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{moment.strftime('%Y-%m-%dT%H:%M:%S')}{fraction}{zone}"
