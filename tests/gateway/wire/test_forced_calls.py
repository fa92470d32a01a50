"""Forced calls: what the form of each family lets through, its parser reads as calls and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.messages.form import Form, OneOf, Pattern, Repeat, Row, Until, Value, Words, decode_form
from gateway.parse.choice import dialect_for
from gateway.parse.tools import DeclaredTools
from gateway.wire.forced_calls import call_grammar
from tests.gateway.parse.samples import SIGNS, events_of, found_in

FAMILIES = {name: sign for name, sign in SIGNS.items() if name not in {"bare", "tool-code"}} | {
    "bare": "{{ .Tools }}",
    "coder": "<think></think><tool_call><function=",
    "pairs": "<tool_call><arg_key>",
    "llama tag": "<|start_header_id|><function=",
    "mistral args": "[TOOL_CALLS][ARGS]",
    "mistral ids": "[TOOL_CALLS][CALL_ID][ARGS]",
    "fenced deepseek": "<｜tool▁calls▁begin｜>```json",  # noqa: RUF001  # the token's own characters
    "functools": "functools[",
    "phi": "<|tool|>",
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["C", "F"]},
        "days": {"type": "integer"},
        "exact": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {"type": "object", "properties": {"x": {"type": "number"}, "note": {"type": "string"}}},
    },
    "required": ["city", "exact"],
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "now"}},
]
WORDS = st.text("abc .,", max_size=6)
PATTERNS = {
    "[0-9]{1,2}": st.just("7"),
    "[a-zA-Z0-9]{9}": st.just("abcDEF123"),
    r"[ \n]{1,8}": st.text(" \n", min_size=1, max_size=8),
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": WORDS,
    "integer": st.integers(-99, 99),
    "number": st.integers(-9, 9),
    "boolean": st.booleans(),
}


def _instance(schema: dict[str, Any], data: st.DataObject) -> Any:
    """Draw a value that fits a schema."""
    if "enum" in schema:
        return data.draw(st.sampled_from(schema["enum"]))
    kind = schema["type"]
    if kind == "array":
        return [_instance(schema["items"], data) for _ in range(data.draw(st.integers(0, 2)))]
    if kind == "object":
        required = schema.get("required", ())
        keys = [key for key in schema["properties"] if key in required or data.draw(st.booleans())]
        return {key: _instance(schema["properties"][key], data) for key in keys}
    return data.draw(VALUES[kind])


def _text(form: Form, data: st.DataObject) -> str:
    """Draw a text that a form lets through."""
    match form:
        case Words(text):
            drawn = text
        case Pattern(regex):
            drawn = data.draw(PATTERNS[regex])
        case Value(schema):
            drawn = json.dumps(_instance(schema, data))
        case Until(end):
            drawn = data.draw(WORDS) + end
        case Row(parts):
            drawn = "".join(_text(part, data) for part in parts)
        case OneOf(forms):
            drawn = _text(data.draw(st.sampled_from(forms)), data)
        case Repeat(once, between, least, most):
            count = data.draw(st.integers(least, min(most, 3)))
            drawn = between.join(_text(once, data) for _ in range(count))
    return drawn


def _fits(arguments: Any, schema: dict[str, Any]) -> bool:
    kinds = {"city": str, "unit": str, "days": int, "exact": bool, "tags": list, "place": dict}
    required = set(schema["required"]) <= set(arguments)
    return required and all(isinstance(value, kinds[key]) for key, value in arguments.items())


@pytest.mark.parametrize("family", sorted(FAMILIES))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_forced_calls_are_read_by_the_family_s_parser(family: str, data: st.DataObject) -> None:
    """Whatever the grammar lets through comes out as calls, with arguments of the right types and no text beside."""
    dialect = dialect_for(FAMILIES[family])
    form = decode_form(call_grammar(dialect.style, TOOLS, most_calls=3).text)
    answer = _text(form, data)
    found = found_in(events_of(dialect, [answer], tools=DeclaredTools(TOOLS)))
    assert found.calls, answer
    assert (found.text.strip(), found.unparsed) == ("", ""), answer
    for name, arguments in found.calls:
        assert name in {"get_weather", "now"}
        assert name == "now" or _fits(json.loads(arguments), SCHEMA), answer


def _least(form: Form) -> str:
    """Give the fixed words of a form, without what may be left out."""
    match form:
        case Words(text):
            return text
        case Row(parts):
            return "".join(map(_least, parts))
        case Repeat(once, _, 1):
            return _least(once)
    return ""


@pytest.mark.parametrize(
    ("template", "beginning"),
    [
        ("<tool_call>{{ '{\"name\": ' }}", '<tool_call>{"name": "now", "arguments": '),
        ("<tool_call><function=", "<tool_call><function=now>\n</function>"),
        ("<tool_call><arg_key>", "<tool_call>now\n"),
        ("<|start_header_id|>", '{"name": "now", "parameters": '),
        ("[TOOL_CALLS]", '[TOOL_CALLS][{"name": "now", "arguments": '),
        ("[TOOL_CALLS][ARGS]", "[TOOL_CALLS]now[ARGS]"),
        ("<|START_ACTION|>", '<|START_ACTION|>[{"tool_call_id": "", "tool_name": "now", "parameters": '),
        ("<|tool_call_start|>", "<|tool_call_start|>[now()]"),
        ("<|start|><|channel|><|message|>", "<|channel|>commentary to=functions.now <|constrain|>json<|message|>"),
        ("<|tool_call><tool_call|>", "<|tool_call>call:now{}"),
        ('{% if tool_calls %}<go>{"name"', '<go>{"name": "now", "arguments": '),
        ("no calls", '{"name": "now", "arguments": '),
    ],
)
def test_forced_call_is_written_as_the_template_writes_calls(template: str, beginning: str) -> None:
    """A model is made to write what it was trained on."""
    form = decode_form(call_grammar(dialect_for(template).style, TOOLS[1:], most_calls=1).text)
    assert _least(form).startswith(beginning)


def test_forced_call_of_a_named_tool_is_one() -> None:
    """Lists of one have no comma, and families without lists no second call."""
    for template in FAMILIES.values():
        text = call_grammar(dialect_for(template).style, TOOLS[1:], most_calls=1).text
        assert '"most":15' not in text
        assert text.count("now") == 1
