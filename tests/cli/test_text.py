"""Tests of human sizes, times and tables."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cli import text

_NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1500, "1.5 KB"),
        (4_031_189, "4.0 MB"),
        (4_000_000, "4 MB"),
        (98_362_745, "98 MB"),
        (9_990_000_000, "10.0 GB"),
        (12_300_000_000, "12 GB"),
        (3_500_000_000_000_000, "3500 TB"),
    ],
)
def test_human_size_of_each_magnitude_reads_as_recorded(size_bytes: int, expected: str) -> None:
    """Sizes are decimal, whole from ten up, else with one decimal unless whole."""
    assert text.human_size(size_bytes) == expected


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        (0.4, "Less than a second"),
        (1.9, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (1.5 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_human_duration_at_each_border_uses_the_largest_unit(duration_s: float, expected: str) -> None:
    """Durations change their unit at the documented borders."""
    assert text.human_duration(duration_s) == expected


def test_human_time_of_special_moments_is_a_word() -> None:
    """The zero time and one beyond twenty years are not counted."""
    assert text.human_time(datetime(1, 1, 1, tzinfo=UTC), now=_NOW) == "Never"
    assert text.human_time(_NOW + timedelta(days=292 * 365), now=_NOW) == "Forever"
    assert text.human_time(_NOW - timedelta(minutes=5), now=_NOW) == "5 minutes ago"


def test_human_until_of_a_past_moment_says_stopping() -> None:
    """A model whose time is over is on its way out."""
    assert text.human_until(_NOW - timedelta(seconds=1), now=_NOW) == "Stopping..."
    assert text.human_until(_NOW + timedelta(seconds=299), now=_NOW) == "4 minutes from now"


@pytest.mark.parametrize(
    ("size_bytes", "vram_bytes", "expected"),
    [
        (100, 0, "100% CPU"),
        (100, 100, "100% GPU"),
        (1000, 333, "67%/33% CPU/GPU"),
        (100, 101, "Unknown"),
        (0, 5, "Unknown"),
    ],
)
def test_human_processor_names_the_shares(size_bytes: int, vram_bytes: int, expected: str) -> None:
    """The share of each side is told in percent."""
    assert text.human_processor(size_bytes=size_bytes, vram_bytes=vram_bytes) == expected


def test_parse_time_with_nanoseconds_keeps_zone_and_microseconds() -> None:
    """Times of Ollama carry nine digits and a zone."""
    assert text.parse_time("2026-11-23T07:54:27.439560168Z") == datetime(2026, 11, 23, 7, 54, 27, 439560, tzinfo=UTC)
    assert text.parse_time("2318-11-23T07:54:27.4+01:00").utcoffset() == timedelta(hours=1)


def test_table_of_models_matches_the_recorded_bytes() -> None:
    """Columns are padded with four blanks, also after the last; the header with one."""
    rows = [
        ("zz-c:latest", "aa5d5e099388", "98 MB", "2 minutes ago"),
        ("tiny-tools:latest", "090e886c5f07", "4.0 MB", "5 minutes ago"),
    ]
    assert text.table(("NAME", "ID", "SIZE", "MODIFIED"), rows) == (
        "NAME                 ID              SIZE      MODIFIED      \n"
        "zz-c:latest          aa5d5e099388    98 MB     2 minutes ago    \n"
        "tiny-tools:latest    090e886c5f07    4.0 MB    5 minutes ago    \n"
    )


def test_table_without_rows_is_its_header() -> None:
    """An empty table still names its columns."""
    header = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL")
    assert text.table(header, []) == "NAME    ID    SIZE    PROCESSOR    CONTEXT    UNTIL \n"


@settings(max_examples=50)
@given(st.floats(min_value=0, max_value=1e11))
def test_human_duration_of_anything_is_one_short_phrase(duration_s: float) -> None:
    """No duration is too long or too short to print."""
    assert 1 <= len(text.human_duration(duration_s)) < 25
