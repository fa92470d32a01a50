"""Names of fields in any case."""

import json

import msgspec
import pytest

from gateway.wire.field_names import with_known_names
from gateway.wire.native_requests import ChatRequest
from gateway.wire.request_json import RequestBody, decode_body


def test_names_match_in_any_case_at_every_depth() -> None:
    """Fields of the body, of messages and of calls in them are found; values and free keys stay as they are."""
    raw = (
        b'{"MODEL": "M", "Messages": [{"Role": "User", "Tool_Calls": [{"Function": {"Name": "F", "arguments": '
        b'{"City": "Paris", "Model": 1}}}]}], "Options": {"Num_Ctx": 5}, "_Debug_render_only": true} x'
    )
    body = decode_body(ChatRequest, raw, if_empty="")
    assert (body.model, body.debug_render_only, body.options) == ("M", True, {"Num_Ctx": 5})
    assert body.messages
    (message,) = body.messages
    assert message.role == "User"
    assert message.tool_calls
    function = message.tool_calls[0].function
    assert (function.name, function.arguments) == ("F", {"City": "Paris", "Model": 1})


def test_names_of_which_several_fit_the_last_counts() -> None:
    """As in Go."""
    assert decode_body(ChatRequest, b'{"model": "a", "Model": "b"}', if_empty="").model == "b"
    assert decode_body(ChatRequest, b'{"Model": "a", "model": "b"}', if_empty="").model == "b"


def test_names_of_every_body_are_known() -> None:
    """All names can be listed, also where structs hold structs of their own kind."""
    for cls in (each for base in RequestBody.__subclasses__() for each in (base, *base.__subclasses__())):
        for field in msgspec.structs.fields(cls):
            raw = json.dumps({field.encode_name.upper(): None}).encode()
            assert json.loads(with_known_names(cls, raw)) == {field.encode_name: None}


@pytest.mark.parametrize(
    "raw", [b'{"model": "Big"}', b'{"Wibble": 1}', b'{"Model": ', b"", b"[1]", b'{"prompt": "\\"Model\\":"}']
)
def test_names_that_are_right_or_unknown_leave_the_body_alone(raw: bytes) -> None:
    """Nothing is decoded twice without need, and what is no JSON is left to the real decoder."""
    assert with_known_names(ChatRequest, raw) == raw
