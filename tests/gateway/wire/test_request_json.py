"""Request bodies and the error texts of Go's decoder."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidRequest
from gateway.wire.native_requests import ChatRequest, CreateBody, GenerateRequest
from gateway.wire.openai_requests import ChatCompletionRequest
from gateway.wire.request_json import RequestBody, decode_body

GO_MAP = "map[string]interface {}"


def _error(cls: type[RequestBody], raw: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode_body(cls, raw, if_empty="missing request body")
    return caught.value.message


@pytest.mark.parametrize(
    ("cls", "raw", "text"),
    [
        (GenerateRequest, b"", "missing request body"),
        (GenerateRequest, b" \n", "missing request body"),
        (GenerateRequest, b'{"model": "smo', "unexpected EOF"),
        (GenerateRequest, b"[]", "json: cannot unmarshal array into Go value of type api.GenerateRequest"),
        (
            GenerateRequest,
            b'{"model": 5}',
            "json: cannot unmarshal number into Go struct field GenerateRequest.model of type string",
        ),
        (
            GenerateRequest,
            b'{"stream": "no"}',
            "json: cannot unmarshal string into Go struct field GenerateRequest.stream of type bool",
        ),
        (
            GenerateRequest,
            b'{"options": 1}',
            f"json: cannot unmarshal number into Go struct field GenerateRequest.options of type {GO_MAP}",
        ),
        (
            ChatRequest,
            b'{"messages": "Hi"}',
            "json: cannot unmarshal string into Go struct field ChatRequest.messages of type []api.Message",
        ),
        (
            ChatRequest,
            b'{"messages": ["Hi"]}',
            "json: cannot unmarshal string into Go struct field ChatRequest.messages of type api.Alias",
        ),
        (
            ChatRequest,
            b'{"messages": [{"content": []}]}',
            "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string",
        ),
        (
            ChatCompletionRequest,
            b'{"temperature": "hot"}',
            "json: cannot unmarshal string into Go struct field ChatCompletionRequest.temperature of type float64",
        ),
        (GenerateRequest, b'{"model": x}', "invalid character 'x' in JSON at byte 10"),
        (GenerateRequest, b'{"q": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "exceeded max depth"),
    ],
)
def test_decode_body_of_something_wrong_says_what(cls: type[RequestBody], raw: bytes, text: str) -> None:
    """The texts are those that clients know."""
    assert _error(cls, raw) == text


@pytest.mark.parametrize("raw", [b'{"model": "m"} x', b'{"model": "m"}\n{"model": "n"}', b'{"model": "m"}\x00'])
def test_decode_body_ignores_what_follows_the_first_value(raw: bytes) -> None:
    """Text after the JSON value does not matter."""
    assert decode_body(GenerateRequest, raw, if_empty="").model == "m"


def test_decode_body_reads_null_as_an_empty_object() -> None:
    """A null body has no fields, a null field is absent."""
    assert decode_body(GenerateRequest, b" null ", if_empty="") == GenerateRequest()
    assert decode_body(GenerateRequest, b'{"model": null, "options": null}', if_empty="") == GenerateRequest()


def test_decode_body_skips_unknown_fields() -> None:
    """Unknown fields are no error."""
    assert decode_body(CreateBody, b'{"model": "m", "wibble": [1, {}]}', if_empty="").model == "m"


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=40) | st.text(alphabet='{}[]",:\\u0model5 ntrue', max_size=40).map(str.encode))
def test_decode_body_of_anything_gives_a_body_or_our_error(raw: bytes) -> None:
    """No bytes make the decoder raise anything but `InvalidRequest`."""
    with contextlib.suppress(InvalidRequest):
        assert isinstance(decode_body(GenerateRequest, raw, if_empty="empty"), GenerateRequest)
