"""Durations as Go reads and prints them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.durations import MAX_DURATION_S, format_duration, parse_duration_s
from actors.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("0", 0.0),
        ("+0", 0.0),
        ("-0", 0.0),
        ("5s", 5.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("-1m30s", -90.0),
        ("+5s", 5.0),
        ("10ms", 0.01),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("3μs", 3e-6),
        ("7ns", 7e-9),
        ("1h1m1s1ms1us1ns", 3661.001001001),
        ("9223372036s", 9223372036.0),
    ],
)
def test_parse_reads_what_go_reads(text: str, duration_s: float) -> None:
    """Examples of Go's own tests."""
    assert parse_duration_s(text) == pytest.approx(duration_s)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid duration"),
        ("-", "invalid duration"),
        (".", "invalid duration"),
        (".s", "invalid duration"),
        ("s", "invalid duration"),
        ("--5s", "invalid duration"),
        ("5", "missing unit"),
        ("1.5", "missing unit"),
        ("5d", 'unknown unit "d"'),
        ("5S", 'unknown unit "S"'),
        ("5 s", 'unknown unit " s"'),
        ("1e3s", 'unknown unit "e"'),
        ("٣s", "invalid duration"),
        ("9223372037s", "invalid duration"),
        ("9" * 1000 + "h", "invalid duration"),
        ("never", "invalid duration"),
    ],
)
def test_parse_refuses_what_go_refuses(text: str, reason: str) -> None:
    """With Go's words, which end in the text as it was given."""
    with pytest.raises(InvalidRequest) as caught:
        parse_duration_s(text)
    assert caught.value.message == f'time: {reason} {"in duration " if "unit" in reason else ""}"{text}"'


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0, "0s"),
        (1e-9, "1ns"),
        (1.1e-6, "1.1µs"),
        (0.0022, "2.2ms"),
        (3.3, "3.3s"),
        (59.0, "59s"),
        (245.0, "4m5s"),
        (245.001, "4m5.001s"),
        (18367.001, "5h6m7.001s"),
        (3600.0, "1h0m0s"),
        (-1.5, "-1.5s"),
        (-0.0, "0s"),
        (1e-10, "0s"),
    ],
)
def test_format_prints_as_go_prints(duration_s: float, text: str) -> None:
    """Examples of Go's own tests."""
    assert format_duration(duration_s) == text


@given(st.integers(-(2**50), 2**50))
@settings(max_examples=200)
def test_parse_inverts_format(nanoseconds: int) -> None:
    """To the nanosecond, as far as a float tells them apart."""
    assert round(parse_duration_s(format_duration(nanoseconds / 1e9)) * 1e9) == pytest.approx(nanoseconds, abs=1)


@given(st.text(alphabet="0123456789.+-nuµmsh eE", max_size=12) | st.text(max_size=8))
@settings(max_examples=300)
def test_parse_of_any_text_gives_a_bounded_number_or_our_error(text: str) -> None:
    """No text makes it raise anything else."""
    try:
        duration_s = parse_duration_s(text)
    except InvalidRequest:
        return
    assert abs(duration_s) <= MAX_DURATION_S
