"""Conversations and tools as the values that chat templates expect, with the fields of the reference server's types.

Unknown keys of a tool's schema are left out, as they are there. A number of free JSON is a float in Go; integers that a
float cannot hold stay integers, so that no digit is lost.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from actors.errors import TemplateFailed
from registry.templates.go.jsontext import to_json
from registry.templates.go.values import JsonList, JsonMap, Struct, TypeNames

_DEEPEST = 64
_LARGEST_EXACT = 1 << 53


class Message(Struct):
    """One message."""

    __slots__ = ()
    go_type = "api.Message"
    json_names: ClassVar[Mapping[str, str]] = {
        "Role": "role",
        "Content": "content",
        "Thinking": "thinking?",
        "Images": "images?",
        "ToolCalls": "tool_calls?",
        "ToolName": "tool_name?",
        "ToolCallID": "tool_call_id?",
    }


class CalledFunction(Struct):
    """What a call calls. The reference prints a Go struct, which no model was trained on; here it prints as JSON."""

    __slots__ = ()
    go_type = "api.ToolCallFunction"
    json_names: ClassVar[Mapping[str, str]] = {"Index": "index", "Name": "name", "Arguments": "arguments"}
    text: ClassVar[Callable[[Any], str] | None] = to_json


class ToolCall(Struct):
    """One call of an assistant."""

    __slots__ = ()
    go_type = "api.ToolCall"
    json_names: ClassVar[Mapping[str, str]] = {"ID": "id?", "Function": "function"}


class Property(Struct):
    """A parameter of a function."""

    __slots__ = ()
    go_type = "api.ToolProperty"
    json_names: ClassVar[Mapping[str, str]] = {
        "AnyOf": "anyOf?",
        "Type": "type?",
        "Items": "items?",
        "Description": "description?",
        "Enum": "enum?",
        "Properties": "properties?",
        "Required": "required?",
    }


class Parameters(Struct):
    """The parameters of a function."""

    __slots__ = ()
    go_type = "api.ToolFunctionParameters"
    json_names: ClassVar[Mapping[str, str]] = {
        "Type": "type",
        "Defs": "$defs?",
        "Items": "items?",
        "Required": "required?",
        "Properties": "properties",
    }


class DeclaredFunction(Struct):
    """A function that may be called; prints as JSON, for the reason of `CalledFunction`."""

    __slots__ = ()
    go_type = "api.ToolFunction"
    json_names: ClassVar[Mapping[str, str]] = {
        "Name": "name",
        "Description": "description",
        "Parameters": "parameters",
    }
    text: ClassVar[Callable[[Any], str] | None] = to_json


class Tool(Struct):
    """A tool; prints as JSON."""

    __slots__ = ()
    go_type = "api.Tool"
    json_names: ClassVar[Mapping[str, str]] = {"Type": "type", "Items": "items?", "Function": "function"}
    text: ClassVar[Callable[[Any], str] | None] = to_json


def tools_of(tools: Sequence[Mapping[str, Any]]) -> JsonList:
    """Give tools as `.Tools`."""
    return JsonList(_tool(tool) for tool in tools)


def message_of(message: Mapping[str, Any]) -> Message:
    """Give a message of the native API as an element of `.Messages`."""
    calls = message.get("tool_calls") or ()
    return Message(
        Role=_text(message, "role"),
        Content=_text(message, "content"),
        Thinking=_text(message, "thinking"),
        Images=list(message.get("images") or ()),
        ToolCalls=[_call(call, index) for index, call in enumerate(calls)],
        ToolName=_text(message, "tool_name"),
        ToolCallID=_text(message, "tool_call_id"),
    )


def _call(call: Mapping[str, Any], index: int) -> ToolCall:
    function = _object(call, "function")
    arguments = _object(function, "arguments")
    return ToolCall(
        ID=_text(call, "id"),
        Function=CalledFunction(
            Index=function.get("index") or index,
            Name=_text(function, "name"),
            Arguments=JsonMap({key: _free(arguments[key], 0) for key in sorted(arguments)}),
        ),
    )


def _tool(tool: Mapping[str, Any]) -> Tool:
    function = _object(tool, "function")
    parameters = _object(function, "parameters")
    properties = _object(parameters, "properties")
    return Tool(
        Type=_text(tool, "type"),
        Items=_free(tool.get("items"), 0),
        Function=DeclaredFunction(
            Name=_text(function, "name"),
            Description=_text(function, "description"),
            Parameters=Parameters(
                Type=_text(parameters, "type"),
                Defs=_free(parameters.get("$defs"), 0),
                Items=_free(parameters.get("items"), 0),
                Required=_names(parameters, "required"),
                Properties=JsonMap({name: _property(properties[name], 0) for name in sorted(properties)}),
            ),
        ),
    )


def _property(value: Any, depth: int) -> Property:
    if depth > _DEEPEST:
        raise TemplateFailed(f"a tool's parameters are nested deeper than {_DEEPEST}")
    fields = value if isinstance(value, Mapping) else {}
    kinds = fields.get("type")
    any_of = fields.get("anyOf")
    inner = _object(fields, "properties")
    return Property(
        AnyOf=[_property(one, depth + 1) for one in any_of] if isinstance(any_of, list) else [],
        Type=TypeNames([kinds] if isinstance(kinds, str) else _names(fields, "type")),
        Items=_free(fields.get("items"), 0),
        Description=_text(fields, "description"),
        Enum=_free(fields.get("enum") or [], 0),
        Properties=JsonMap({name: _property(one, depth + 1) for name, one in inner.items()}) if inner else None,
        Required=_names(fields, "required"),
    )


def _free(value: Any, depth: int) -> Any:
    """Give free JSON as Go decodes it."""
    if depth > _DEEPEST:
        raise TemplateFailed(f"a value is nested deeper than {_DEEPEST}")
    match value:
        case bool() | str() | None | float():
            return value
        case int():
            return float(value) if abs(value) <= _LARGEST_EXACT else value
        case Mapping():
            return {str(key): _free(item, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [_free(item, depth + 1) for item in value]
    return str(value)


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _object(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = fields.get(key)
    return value if isinstance(value, Mapping) else {}


def _names(fields: Mapping[str, Any], key: str) -> list[str]:
    value = fields.get(key)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list | tuple) else []
