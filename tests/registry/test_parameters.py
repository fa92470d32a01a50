"""Options: types, defaults, and the errors of both ways to write them."""

import contextlib
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidModelfile, InvalidRequest
from registry.parameters import OPTIONS, checked_options, merged_options, parse_parameter


def test_options_have_the_documented_defaults() -> None:
    """The defaults that clients rely on."""
    assert {name: OPTIONS[name].default for name in ("temperature", "top_k", "top_p", "repeat_penalty", "seed")} == {
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.9,
        "repeat_penalty": 1.0,
        "seed": -1,
    }
    assert OPTIONS["num_ctx"].at_load
    assert not OPTIONS["stop"].at_load


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("top_k", "40", 40),
        ("seed", "-1", -1),
        ("temperature", "0", 0),
        ("temperature", "0.1", 0.1),
        ("temperature", "1e-05", 1e-5),
        ("use_mmap", "F", False),
        ("stop", " END ", [" END "]),
    ],
)
def test_parse_parameter_text_becomes_typed(name: str, text: str, value: Any) -> None:
    """Text is read by the option's type."""
    assert repr(parse_parameter(name, text)) == repr(value)


@pytest.mark.parametrize(
    ("options", "checked"),
    [
        ({}, {}),
        ({"top_k": 5.9, "temperature": 1}, {"top_k": 5, "temperature": 1.0}),
        ({"temperature": None, "wibble": 1, "mirostat": 1}, {}),
        ({"stop": ["a"], "use_mmap": True, "main_gpu": 0}, {"stop": ["a"], "use_mmap": True, "main_gpu": 0}),
    ],
)
def test_checked_options_takes_what_fits(options: dict[str, Any], checked: dict[str, Any]) -> None:
    """Floats stand for integers, null is absent, unknown names are left out."""
    assert checked_options(options) == checked


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"temperature": True}, 'option "temperature" must be of type float32'),
        ({"top_k": "x"}, 'option "top_k" must be of type integer'),
        ({"seed": True}, 'option "seed" must be of type integer'),
        ({"seed": 1e300}, 'option "seed" must be of type integer'),
        ({"seed": 10**400}, 'option "seed" must be of type integer'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": "."}, 'option "stop" must be of type array'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
    ],
)
def test_checked_options_wrong_type_raises_known_text(options: dict[str, Any], text: str) -> None:
    """The texts are those of the reference."""
    with pytest.raises(InvalidRequest) as caught:
        checked_options(options)
    assert caught.value.message == text


def test_checked_options_unknown_name_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A misspelt option leaves a trace."""
    with caplog.at_level(logging.WARNING):
        checked_options({"temprature": 1})
    assert "temprature" in caplog.text


def test_merged_options_request_wins_over_model() -> None:
    """Stored values are defaults."""
    assert merged_options({"top_k": 1, "seed": 7}, {"top_k": 2}) == {"top_k": 2, "seed": 7}
    assert merged_options({"top_k": 1}, None) == {"top_k": 1}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), st.lists, max_leaves=4
)


@given(st.dictionaries(st.sampled_from(sorted(OPTIONS)), values), st.sampled_from(sorted(OPTIONS)), st.text(max_size=6))
@settings(max_examples=100)
def test_options_never_raise_anything_else(options: dict[str, Any], name: str, text: str) -> None:
    """Any JSON and any text is a value or the named error."""
    with contextlib.suppress(InvalidRequest):
        assert all(value is not None for value in checked_options(options).values())
    with contextlib.suppress(InvalidModelfile):
        parse_parameter(name, text)
