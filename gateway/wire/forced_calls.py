"""The form of an answer that must be calls, in the markup of the model's family (`gateway.parse.call_style`).

What the form lets through, the family's parser reads. JSON fits the tool's schema to the letter; values in other
notations fit their types and enumerations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from actors.messages.form import Form, OneOf, Pattern, Repeat, Row, Until, Value, Words, encode_form
from actors.messages.job import Grammar, GrammarKind
from gateway.parse.call_style import BracedBody, CallStyle, JsonBody, MarkupBody, NamedBody, PythonBody

_MOST_ITEMS = 64
_DEEPEST = 4
"""Nested lists and objects in braced calls; what is deeper is written as text."""
_BLANK = Repeat(Pattern(r"[ \n]{1,8}"), least=0)
_SCALARS = frozenset({"integer", "number", "boolean", "null"})
_SHARED = ("$defs", "definitions")


def call_grammar(
    style: CallStyle, tools: Sequence[Mapping[str, Any]], *, most_calls: int, thinks: bool = True
) -> Grammar:
    """Make the grammar of calls of these tools, at least one; without `thinks` no thought is in their own markup.

    Raises:
        InvalidRequest: a tool's parameters cannot be written as JSON.
    """
    bodies = tuple(_Call(tool["function"]).form(style) for tool in tools)
    lead = _blank_if(style.opening) if _may_be_indented(style) else ""
    call = _row(style.opening, lead, _one_of(bodies), _blank_if(style.closing), style.closing)
    most = 1 if style.is_single else most_calls
    if style.brackets:
        more = Repeat(_row(",", _BLANK, call), least=0, most=max(1, most - 1))
        calls = _row(style.brackets[0], _BLANK, call, *([more] if most > 1 else []), _BLANK, style.brackets[1])
    else:
        calls = _row(call, *([Repeat(_row(style.between or _BLANK, call), least=0, most=most - 1)] if most > 1 else []))
    opened, ended = style.thought
    thought = [Repeat(_row(opened, Until(ended)), least=0)] if opened and thinks else []
    form = _row(*thought, style.before, _blank_if(style.before), calls, _blank_if(style.after), style.after)
    return Grammar(kind=GrammarKind.FORM, text=encode_form(form))


class _Call:
    """One function, and the ways to write its call."""

    def __init__(self, function: Mapping[str, Any]) -> None:
        self._name: str = function["name"]
        self._schema: dict[str, Any] = dict(function.get("parameters") or {"type": "object", "properties": {}})
        properties = self._schema.get("properties")
        self._properties: dict[str, Any] = properties if isinstance(properties, dict) else {}
        required = self._schema.get("required")
        self._required = [key for key in self._properties if isinstance(required, list) and key in required]
        self._optional = [key for key in self._properties if key not in self._required]

    def form(self, style: CallStyle) -> Form:
        match style.body:
            case JsonBody() as body:
                return self._json(body)
            case NamedBody(before_arguments, before_id, id_regex):
                numbered: list[Form | str] = [before_id, Pattern(id_regex)] if before_id else []
                return _row(self._name, *numbered, before_arguments, Value(self._schema))
            case MarkupBody() as body:
                return self._markup(body)
            case BracedBody(quote):
                members = [
                    (key, _row(f"{key}:", self._braced(self._property(key), quote, 0))) for key in self._properties
                ]
                return _row(f"call:{self._name}{{", *self._separated(dict(members), ","), "}")
            case PythonBody():
                members = [(key, _row(f"{key}=", self._python(key))) for key in self._properties]
                return _row(f"{self._name}(", *self._separated(dict(members), ", "), ")")

    def _json(self, body: JsonBody) -> Form:
        outer, inner = ("\n    ", "\n        ") if body.is_indented else ("", "")
        numbered: list[Form | str] = [f'"{body.id_key}": "', Pattern("[0-9]{1,2}"), '", '] if body.id_key else []
        comma = "," + (inner or " ")
        head = f'"{body.name}": {_quoted(self._name)}{comma}"{body.arguments}": '
        return _row("{" + inner, *numbered, head, Value(self._schema), outer + "}")

    def _markup(self, body: MarkupBody) -> Form:
        parameters: list[Form] = []
        for key in self._properties:
            parameter = _row(body.before_value.replace("KEY", key), self._marked_value(key, body.behind_value))
            parameters.append(parameter if key in self._required else Repeat(parameter, least=0))
        return _row(body.opening.replace("NAME", self._name), *parameters, body.closing)

    def _marked_value(self, key: str, behind: str) -> Form:
        schema = self._property(key)
        if (words := _texts(schema)) is not None:
            return _row(_one_of([Words(word) for word in words]), behind)
        if not _may_be_text(schema):
            return _row(Value(schema), behind)
        return Until(behind)

    def _python(self, key: str) -> Form:
        schema = self._property(key)
        return OneOf((Words("True"), Words("False"))) if schema.get("type") == "boolean" else Value(schema)

    def _braced(self, schema: Mapping[str, Any], quote: str, depth: int) -> Form:
        """Give a value in Gemma's notation."""
        text = _row(quote, Until(quote))
        if (words := _texts(schema)) is not None:
            return _one_of([Words(f"{quote}{word}{quote}") for word in words])
        kind = schema.get("type")
        if depth < _DEEPEST and kind == "array":
            items = schema.get("items")
            item = self._braced(self._shared(items) if isinstance(items, dict) else {}, quote, depth + 1)
            return _row("[", Repeat(item, between=",", least=0, most=_MOST_ITEMS), "]")
        properties = schema.get("properties")
        if depth < _DEEPEST and kind == "object" and isinstance(properties, dict):
            members = {
                key: _row(
                    f"{key}:", self._braced(self._shared(each) if isinstance(each, dict) else {}, quote, depth + 1)
                )
                for key, each in properties.items()
            }
            return _row("{", *_any_of(members, ","), "}")
        return Value(dict(schema)) if kind in _SCALARS else text

    def _property(self, key: str) -> dict[str, Any]:
        schema = self._properties[key]
        return self._shared(schema) if isinstance(schema, dict) else {}

    def _shared(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Give a part of the schema with the definitions that it may refer to."""
        return {**{name: self._schema[name] for name in _SHARED if name in self._schema}, **schema}

    def _separated(self, members: Mapping[str, Form], comma: str) -> list[Form | str]:
        """Give the required members, then any of the others."""
        required = [members[key] for key in self._required]
        optional = {key: members[key] for key in self._optional}
        if not required:
            return _any_of(optional, comma)
        parts: list[Form | str] = [required[0]]
        for each in required[1:]:
            parts += [comma, each]
        if optional:
            more = _row(comma, _one_of(list(optional.values())))
            parts.append(Repeat(more, least=0, most=len(optional)))
        return parts


def _any_of(members: Mapping[str, Form], comma: str) -> list[Form | str]:
    if not members:
        return []
    return [Repeat(_one_of(list(members.values())), between=comma, least=0, most=len(members))]


def _row(*parts: Form | str) -> Form:
    forms = [Words(part) if isinstance(part, str) else part for part in parts if part != ""]
    return forms[0] if len(forms) == 1 else Row(tuple(forms))


def _one_of(forms: Sequence[Form]) -> Form:
    return forms[0] if len(forms) == 1 else OneOf(tuple(forms))


def _may_be_indented(style: CallStyle) -> bool:
    return isinstance(style.body, JsonBody) or (isinstance(style.body, MarkupBody) and style.body.opening[0] == "<")


def _blank_if(marker: str) -> Form | str:
    return _BLANK if marker else ""


def _texts(schema: Mapping[str, Any]) -> list[str] | None:
    """Give the texts of an enumeration of nothing but texts."""
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(listed, list) and listed and all(isinstance(word, str) for word in listed):
        return listed
    return None


def _may_be_text(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type")
    named = [kinds] if isinstance(kinds, str) else kinds
    return not isinstance(named, list) or not named or "string" in named


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
