"""Numbers and times as people read them, and tables; shapes as users of Ollama's command line know them."""

import math
from collections.abc import Sequence
from datetime import datetime

_GAP = "    "
_FOREVER_YEARS = 20
_HOURS_PER_YEAR = 365 * 24
_SHORT_ID = 12


def human_size(size_bytes: int) -> str:
    """Print a size in decimal units: whole from ten up, else one decimal unless it is whole."""
    value, unit = float(size_bytes), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1000:  # noqa: PLR2004 - decimal units
            break
        value, unit = value / 1000, larger
    is_whole = value >= 10 or value == math.trunc(value)  # noqa: PLR2004 - two digits are enough
    return f"{int(value)} {unit}" if is_whole else f"{value:.1f} {unit}"


def human_duration(duration_s: float) -> str:
    """Print a duration in its largest unit, as in `4 minutes` or `About an hour`."""
    seconds, minutes, hours = int(duration_s), int(duration_s // 60), math.floor(duration_s / 3600 + 0.5)
    steps = (
        (seconds < 1, "Less than a second"),
        (seconds == 1, "1 second"),
        (seconds < 60, f"{seconds} seconds"),  # noqa: PLR2004 - the clock's own numbers, here and below
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),  # noqa: PLR2004
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),  # noqa: PLR2004
        (hours < 24 * 14, f"{hours // 24} days"),
        (hours < 24 * 60, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    return next((text for applies, text in steps if applies), f"{hours // _HOURS_PER_YEAR} years")


def human_time(moment: datetime, *, now: datetime) -> str:
    """Print a moment relative to `now`; the zero time is `Never`, one beyond twenty years `Forever`."""
    if moment.year <= 1:
        return "Never"
    ahead_s = (moment - now).total_seconds()
    if ahead_s / 3600 / _HOURS_PER_YEAR > _FOREVER_YEARS:
        return "Forever"
    return f"{human_duration(ahead_s)} from now" if ahead_s > 0 else f"{human_duration(-ahead_s)} ago"


def human_until(expires_at: datetime, *, now: datetime) -> str:
    """Print when a model expires; one whose time is over is being stopped."""
    if expires_at.year > 1 and expires_at < now:
        return "Stopping..."
    return human_time(expires_at, now=now)


def human_processor(*, size_bytes: int, vram_bytes: int) -> str:
    """Print which share of a model lies where."""
    if vram_bytes == 0:
        return "100% CPU"
    if vram_bytes == size_bytes:
        return "100% GPU"
    if size_bytes == 0 or vram_bytes > size_bytes:
        return "Unknown"
    cpu_percent = math.floor((size_bytes - vram_bytes) / size_bytes * 100 + 0.5)
    return f"{cpu_percent}%/{100 - cpu_percent}% CPU/GPU"


def short_id(digest: str) -> str:
    """Give the twelve digits by which people tell models apart."""
    return digest[:_SHORT_ID]


def parse_time(text: str) -> datetime:
    """Parse RFC 3339; digits beyond microseconds are dropped."""
    return datetime.fromisoformat(text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table: columns left aligned with four blanks between them, no rules."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    head = _GAP.join(cell.ljust(width) for cell, width in zip(header, widths, strict=True)) + " "
    return "\n".join([head, *(_row(row, widths) for row in rows)]) + "\n"


def section(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Lay out one titled block of `show`: rows without a header, and an empty line after them."""
    columns = max(len(row) for row in rows)
    padded = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*padded, strict=True)]
    return "\n".join([f"  {title}", *(_GAP + _row(row, widths) for row in padded)]) + "\n\n"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(cell.ljust(width) + _GAP for cell, width in zip(cells, widths, strict=True))
