"""Request bodies: JSON to typed structs, with the error texts that clients of Go's decoder know.

As Go's decoder does: the `Content-Type` is not looked at, text after the first value is ignored, `null` reads as `{}`
and null fields as absent (every field of a body struct is optional), unknown fields are skipped, and names of fields
match in any case. Other than Go's, invalid UTF-8 is refused instead of replaced.
"""

import re
from typing import Any, ClassVar, TypeVar

import msgspec

from actors.errors import InvalidRequest
from gateway.wire.field_names import with_known_names

_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_INVALID_AT = re.compile(r"invalid character \(byte (\d+)\)")
_WRONG_TYPE = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`(?: - at `(?P<path>[^`]*)`)?")
_NAME = re.compile(rb'"([\w.-]{1,64})"\s*:')
_INDEX = re.compile(r"\[[^\]]*\]")
_JSON_KIND = {"str": "string", "int": "number", "float": "number", "bool": "bool", "array": "array", "object": "object"}
_GO_TYPE = {"str": "string", "int": "int", "float": "float64", "bool": "bool", "object": "map[string]interface {}"}


class RequestBody(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all request bodies."""

    go_name: ClassVar[str] = ""
    """The Go type's name in error texts, with its package."""
    go_types: ClassVar[dict[str, str]] = {}
    """Go types of fields, by path, where they do not follow from ours."""


B = TypeVar("B", bound=RequestBody)
_decoders: dict[type, "msgspec.json.Decoder[Any]"] = {}


def decode_body(cls: type[B], raw: bytes, *, if_empty: str) -> B:
    """Decode a request body.

    Args:
        cls: the struct to decode to.
        raw: the bytes as they came.
        if_empty: the error text for a body of nothing but blanks.

    Raises:
        InvalidRequest: it is empty, no JSON, or has a field of the wrong type.
    """
    decoder = _decoders.get(cls)
    if decoder is None:
        decoder = _decoders[cls] = msgspec.json.Decoder(cls)
    raw = with_known_names(cls, raw)
    try:
        return decoder.decode(raw)  # type: ignore[no-any-return]  # decoders are stored by their type
    except msgspec.ValidationError as error:
        if raw.lstrip()[:4] == b"null":
            return cls()
        raise InvalidRequest(_type_error(cls, str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if not raw.strip():
            raise InvalidRequest(if_empty) from error
        trailing = _TRAILING.search(str(error))
        if trailing is not None and int(trailing[1]) <= len(raw):
            return decode_body(cls, raw[: int(trailing[1]) - 1], if_empty=if_empty)
        raise InvalidRequest(_encoding_error(raw) or _syntax_error(raw, str(error))) from error
    except RecursionError as error:
        raise InvalidRequest("exceeded max depth") from error


def _encoding_error(raw: bytes) -> str | None:
    """Name the first byte that is no UTF-8, and the field whose value it stands in."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        names = _NAME.findall(raw[: error.start])
        place = f' in the value of "{names[-1].decode()}"' if names else ""
        return f"invalid UTF-8 at byte {error.start}{place}"
    return None


def _syntax_error(raw: bytes, reason: str) -> str:
    if "truncated" in reason:
        return "unexpected EOF"
    invalid = _INVALID_AT.search(reason)
    if invalid is None:
        return f"invalid JSON: {reason}"
    position = int(invalid[1])
    character = raw[position : position + 1].decode("latin1")
    return f"invalid character {character!r} in JSON at byte {position}"


def _type_error(cls: type[RequestBody], reason: str) -> str:
    wrong = _WRONG_TYPE.search(reason)
    if wrong is None:
        return f"json: {reason}"
    got = _JSON_KIND.get(wrong["got"], wrong["got"])
    path = _INDEX.sub("", wrong["path"] or "$").removeprefix("$").removeprefix(".")
    if not path:
        return f"json: cannot unmarshal {got} into Go value of type {cls.go_name}"
    expected = wrong["expected"].split(" | ")[0]
    is_item = (wrong["path"] or "").endswith("]")
    go_type = cls.go_types.get(path + "[]" if is_item else path) or _GO_TYPE.get(expected, expected)
    struct = cls.go_name.rpartition(".")[2]
    return f"json: cannot unmarshal {got} into Go struct field {struct}.{path} of type {go_type}"
