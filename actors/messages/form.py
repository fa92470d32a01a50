"""The form of an answer that is no single schema: fixed words, JSON values and free text in a row.

A gateway builds one where a call must be written in a model's own markup; the runner, which knows the model's tokens,
makes a grammar of it. It travels as JSON text (`Grammar.text`), so that equal forms are compiled once.
"""

from typing import Any

import msgspec

from actors.errors import InvalidRequest


class Words(msgspec.Struct, frozen=True, tag="words"):
    """Exactly this text; where it spells a control token of the model, that token."""

    text: str


class Pattern(msgspec.Struct, frozen=True, tag="pattern"):
    """Text that a regular expression matches."""

    regex: str


class Value(msgspec.Struct, frozen=True, tag="value"):
    """A JSON value that fits a schema."""

    schema: dict[str, Any]


class Until(msgspec.Struct, frozen=True, tag="until"):
    """Any text up to the first appearance of `end`, which belongs to it."""

    end: str


class Row(msgspec.Struct, frozen=True, tag="row"):
    """One after the other."""

    parts: tuple["Form", ...]


class OneOf(msgspec.Struct, frozen=True, tag="one_of"):
    """One of them."""

    forms: tuple["Form", ...]


class Repeat(msgspec.Struct, frozen=True, tag="repeat"):
    """At least `least` and at most `most` times, with words in between."""

    form: "Form"
    between: str = ""
    least: int = 1
    most: int = 1


Form = Words | Pattern | Value | Until | Row | OneOf | Repeat

_decoder: msgspec.json.Decoder[Form] = msgspec.json.Decoder(Form)


def encode_form(form: Form) -> str:
    """Give a form as text.

    Raises:
        InvalidRequest: a schema in it cannot be written as JSON.
    """
    try:
        return msgspec.json.encode(form).decode()
    except (OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidRequest(f"a tool's parameters cannot be used: {error}") from error


def decode_form(text: str) -> Form:
    """Read the text of a form.

    Raises:
        msgspec.DecodeError, RecursionError: it is none, or too deep.
    """
    return _decoder.decode(text)
