"""Options: types, defaults, and the errors of both ways to write them."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidModelfile, InvalidRequest
from registry.parameters import OPTIONS, checked_options, merged_options, option_warnings, parse_parameter


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
        ({"temperature": None, "wibble": 1, "low_vram": True}, {}),
        ({"logit_bias": {"5": 1.5, "7": False}}, {"logit_bias": [[5, 1.5], [7, -1e4]]}),
        ({"logit_bias": [[5, -2]]}, {"logit_bias": [[5, -2.0]]}),
        ({"temperature": -1, "mirostat": 2}, {"temperature": -1.0, "mirostat": 2}),
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
        ({"top_p": 1.5}, 'option "top_p" must be 0 to 1'),
        ({"temperature": 1e308}, 'option "temperature" must be at most 100'),
        ({"repeat_last_n": -2}, 'option "repeat_last_n" must be at least -1'),
        ({"mirostat": 3}, 'option "mirostat" must be 0 to 2'),
        ({"logit_bias": {"x": 1}}, 'option "logit_bias" must be an object of token ids and numbers'),
        ({"logit_bias": [5]}, 'option "logit_bias" must be an object of token ids and numbers'),
        ({"logit_bias": {"5": True}}, 'option "logit_bias" must have biases of -10000 to 10000, or false'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
    ],
)
def test_checked_options_wrong_type_raises_known_text(options: dict[str, Any], text: str) -> None:
    """The texts are those of the reference."""
    with pytest.raises(InvalidRequest) as caught:
        checked_options(options)
    assert caught.value.message == text


def test_option_warnings_tell_unknown_and_gone_options() -> None:
    """A misspelt option is told with the one that was meant, and there is an end to it."""
    assert option_warnings({"temprature": 1, "numa": True, "seed": 1, "xyzzy": 2}) == (
        'option "temprature" is unknown and was ignored, did you mean "temperature"?',
        'option "numa" no longer has an effect',
        'option "xyzzy" is unknown and was ignored',
    )
    assert option_warnings(None) == ()
    assert len(option_warnings({f"unknown{number}": 1 for number in range(1000)})) == 16


def test_parse_parameter_out_of_range_is_refused() -> None:
    """A model cannot bring what a request may not say."""
    with pytest.raises(InvalidModelfile, match="parameter 'top_p' must be 0 to 1"):
        parse_parameter("top_p", "1.5")
    with pytest.raises(InvalidModelfile, match="request only"):
        parse_parameter("logit_bias", "5")


def test_merged_options_of_a_request_mend_those_of_a_model() -> None:
    """A stored value out of range, written by another program, can be overridden."""
    with pytest.raises(InvalidRequest):
        merged_options({"top_p": 2}, None)
    assert merged_options({"top_p": 2}, {"top_p": 1, "top_k": None}) == {"top_p": 1.0}


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
