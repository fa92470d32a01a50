"""The little statistics that the benchmarks need, and how figures are written."""

import math
from collections.abc import Iterable

_MILLI = 1e3
_MEBI = 1 << 20


def percentile(values: Iterable[float], share: float) -> float:
    """Give the smallest value that at least `share` (0 to 1) of all values do not exceed; NaN for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def ms(seconds: float) -> str:
    """Write seconds as milliseconds."""
    return f"{seconds * _MILLI:.1f}"


def mib(n_bytes: float) -> str:
    """Write bytes as MiB."""
    return f"{n_bytes / _MEBI:.1f}"
