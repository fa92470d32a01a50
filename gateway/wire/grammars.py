"""What an answer must match, from the ways in which the API families ask for it.

Native: `format` is "json", a JSON Schema, or `{"type": "regex" | "lark" | "gbnf", "grammar": "…"}`, where a regular
expression may stand under `pattern`. OpenAI: `response_format`. What forces a call is in `forced_calls`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.errors import InvalidRequest
from actors.messages.job import Grammar, GrammarKind
from gateway.parse.dialect import Dialect
from gateway.wire import fields

_ANY_OBJECT = '{"type":"object"}'
TEXT_KINDS = {kind.value: kind for kind in (GrammarKind.REGEX, GrammarKind.LARK, GrammarKind.GBNF)}
_TEXTS = ("grammar", "pattern")


def format_grammar(raw: bytes) -> Grammar | None:
    """Read a native `format`.

    Raises:
        InvalidRequest: it is no format.
    """
    if not fields.has_format(raw):
        return None
    if not raw.startswith(b"{"):
        return Grammar(kind=GrammarKind.JSON_SCHEMA, text=_ANY_OBJECT)
    try:
        wanted: dict[str, Any] = msgspec.json.decode(raw)
    except RecursionError as error:
        raise InvalidRequest("invalid format: it is nested too deeply") from error
    kind = TEXT_KINDS.get(wanted["type"]) if isinstance(wanted.get("type"), str) else None
    if kind is None:
        return Grammar(kind=GrammarKind.JSON_SCHEMA, text=raw.decode())
    return text_grammar(kind, wanted, field="format")


def text_grammar(kind: GrammarKind, wanted: Mapping[str, Any], *, field: str) -> Grammar:
    """Make a grammar of what is text already.

    Raises:
        InvalidRequest: the text is not there.
    """
    text = next((wanted[name] for name in _TEXTS if isinstance(wanted.get(name), str)), None)
    if not text:
        raise InvalidRequest(f'{field} of type "{kind.value}" needs its text as "grammar"')
    return Grammar(kind=kind, text=text)


def schema_grammar(schema: Mapping[str, Any] | None) -> Grammar:
    """Make a grammar of a JSON Schema; of none, one of any JSON object.

    Raises:
        InvalidRequest: the schema cannot be written as JSON.
    """
    if schema is None:
        return Grammar(kind=GrammarKind.JSON_SCHEMA, text=_ANY_OBJECT)
    try:
        return Grammar(kind=GrammarKind.JSON_SCHEMA, text=msgspec.json.encode(schema).decode())
    except (OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidRequest(f"the schema cannot be used: {error}") from error


def behind_thinking(grammar: Grammar | None, dialect: Dialect, *, thinks: bool) -> Grammar | None:
    """Let a grammar begin behind the thinking of an answer, if there is any."""
    if grammar is None:
        return None
    if dialect.is_harmony:
        return msgspec.structs.replace(grammar, triggers=("<|channel|>final<|message|>",))
    if not thinks or not dialect.thinking:
        return grammar
    tags = dialect.thinking[0]
    return msgspec.structs.replace(grammar, thinking=(tags.opening, tags.closing))
