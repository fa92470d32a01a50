"""Go's duration syntax, as the API's `keep_alive` and the environment use it.

Source: Go's `time.ParseDuration` and `Duration.String`: a signed sequence of decimal numbers with units
(`ns us µs ms s m h`), `0` alone without one.
"""

import re

from actors.errors import InvalidRequest

_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")
MAX_DURATION_S = (2**63 - 1) / 1e9  # what an int64 of nanoseconds holds: about 292 years


def parse_duration_s(text: str) -> float:
    """Parse a Go duration to seconds.

    Raises:
        InvalidRequest: the text is no duration; the message is Go's own, which clients know.
    """
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    total_s, position = 0.0, 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None:
            break
        number, unit = part.groups()
        if not unit:
            raise InvalidRequest(f'time: missing unit in duration "{text}"')
        if unit not in _UNIT_S:
            raise InvalidRequest(f'time: unknown unit "{unit}" in duration "{text}"')
        total_s += float(number) * _UNIT_S[unit]
        position = part.end()
    if not rest or position != len(rest) or total_s > MAX_DURATION_S:
        raise InvalidRequest(f'time: invalid duration "{text}"')
    return sign * total_s


def format_duration(duration_s: float) -> str:
    """Print seconds as Go prints a `time.Duration` (`1.5s`, `12.3ms`, `1h0m0s`)."""
    nanoseconds = round(abs(duration_s) * 1e9)
    sign = "-" if duration_s < 0 and nanoseconds else ""
    if nanoseconds < 10**9:
        for unit, scale in (("ms", 10**6), ("µs", 10**3)):
            if nanoseconds >= scale:
                return f"{sign}{_decimal(nanoseconds, scale)}{unit}"
        return f"{sign}{nanoseconds}ns" if nanoseconds else "0s"
    whole_s, fraction = divmod(nanoseconds, 10**9)
    minutes, seconds = divmod(whole_s, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(seconds * 10**9 + fraction, 10**9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    digits = str(rest).zfill(len(str(scale)) - 1).rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
