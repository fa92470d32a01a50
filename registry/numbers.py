"""Numbers as Ollama writes them: counts for people, floats of 32 bits, JSON without needless decimals."""

import math
import struct
from typing import Any

_FLOAT = struct.Struct("<f")
_SIX_DIGITS = 1e6
_WHOLE_LIMIT = 1e21  # from here on Go writes floats with an exponent


def human_count(count: int) -> str:
    """Shorten a parameter count: `7.2B`, `134.52M`, `12K`."""
    if count >= 1_000_000_000:  # noqa: PLR2004 - the steps of the format
        billions = count / 1e9
        return f"{billions:.0f}B" if billions == math.floor(billions) else f"{billions:.1f}B"
    if count >= 1_000_000:  # noqa: PLR2004
        return f"{count / 1e6:.2f}M"
    if count >= 1_000:  # noqa: PLR2004
        return f"{count / 1e3:.0f}K"
    return str(count)


def shortest_float32(value: float) -> float:
    """Give the float with the fewest digits that is the same number in 32 bits (1e-05, not 9.99999974e-06)."""
    if not math.isfinite(value) or (value.is_integer() and abs(value) < _SIX_DIGITS):
        return value
    try:
        packed = _FLOAT.pack(value)
    except OverflowError:
        return math.copysign(math.inf, value)
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if _FLOAT.pack(short) == packed:
            return short
    return float(f"{value:.9g}")


def plain_number(value: Any) -> Any:
    """Give whole floats as integers, as Go's JSON does; containers are followed, all else stays."""
    if isinstance(value, float):
        whole = math.isfinite(value) and value.is_integer() and abs(value) < _WHOLE_LIMIT
        return int(value) if whole else value
    if isinstance(value, dict):
        return {key: plain_number(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_number(item) for item in value]
    return value
