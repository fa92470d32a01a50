"""Fields that several routes share."""

import pytest

from actors.errors import InvalidRequest
from actors.settings import FOREVER_S
from gateway.wire import fields


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0),
        ("0", 0),
        (60, 60),
        (1.5, 1.5),
        ("1h30m", 5400),
        ("300ms", 0.3),
        (-1, FOREVER_S),
        ("-1s", FOREVER_S),
        (1e300, FOREVER_S),
    ],
)
def test_parse_keep_alive_of_each_form(value: object, seconds: float | None) -> None:
    """Numbers are seconds, texts are durations, negative is for ever."""
    assert fields.parse_keep_alive_s(value) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "Unsupported type: 'bool'"),
        ([], "Unsupported type: '[]interface {}'"),
        ({}, "Unsupported type: 'map[string]interface {}'"),
        ("100", 'time: missing unit in duration "100"'),
        ("abc", 'time: invalid duration "abc"'),
        ("", 'time: invalid duration ""'),
    ],
)
def test_parse_keep_alive_of_something_else_says_what(value: object, text: str) -> None:
    """The texts are those that clients know."""
    with pytest.raises(InvalidRequest) as caught:
        fields.parse_keep_alive_s(value)
    assert caught.value.message == text


@pytest.mark.parametrize("value", [None, True, False, "low", "medium", "high", "max"])
def test_parse_think_of_each_form(value: object) -> None:
    """Booleans, levels and null pass as they are."""
    assert fields.parse_think(value) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("sideways", 'invalid think value: "sideways" (must be "high", "medium", "low", "max", true, or false)'),
        (3, 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
    ],
)
def test_parse_think_of_something_else_says_what(value: object, text: str) -> None:
    """The texts are those that clients know."""
    with pytest.raises(InvalidRequest) as caught:
        fields.parse_think(value)
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("effort", "think"), [("", None), ("none", False), ("minimal", "low"), ("xhigh", "max"), ("high", "high")]
)
def test_parse_effort_gives_a_think_value(effort: str, think: object) -> None:
    """OpenAI's efforts are levels under other names."""
    assert fields.parse_effort(effort) == think


@pytest.mark.parametrize(
    ("raw", "expected"), [(b"", False), (b"null", False), (b'""', False), (b'"json"', True), (b'{"type":"x"}', True)]
)
def test_has_format_of_valid_values(raw: bytes, expected: bool) -> None:  # noqa: FBT001  # a table's column
    """Empty values ask for nothing."""
    assert fields.has_format(raw) is expected


@pytest.mark.parametrize(("raw", "shown"), [(b'"xml"', r"\"xml\""), (b"5", "5"), (b"[]", "[]")])
def test_has_format_of_something_else_quotes_it(raw: bytes, shown: str) -> None:
    """The raw value is quoted as Go quotes it."""
    with pytest.raises(InvalidRequest) as caught:
        fields.has_format(raw)
    assert caught.value.message == f'invalid format: "{shown}"; expected "json" or a valid JSON Schema object'


def test_parse_images_gives_their_bytes() -> None:
    """Standard base64 is read; no images are none."""
    assert fields.parse_images(["aGk=", ""]) == (b"hi", b"")
    assert fields.parse_images(None) == ()


def test_parse_images_names_the_first_bad_byte() -> None:
    """Not base64 is an error that says where."""
    with pytest.raises(InvalidRequest) as caught:
        fields.parse_images(["aGk=", "aG!="])
    assert caught.value.message == "illegal base64 data at input byte 2"
