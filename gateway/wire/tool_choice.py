"""`tool_choice` of the OpenAI routes: which tools an answer may call, and whether it must."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.errors import InvalidRequest

Tools = tuple[Mapping[str, Any], ...]
"""Tools in the native form."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """What `tool_choice` says, with the tools that it leaves."""

    shown: Tools = ()
    """What the model is told of."""
    forced: Tools = ()
    """The answer must be calls of these; empty: it may be anything."""
    is_named: bool = False
    """Whether one was named, which is called once."""


def read_tool_choice(value: Any, tools: Sequence[Mapping[str, Any]]) -> ToolChoice:
    """Read a `tool_choice`, given the tools of the request.

    Raises:
        InvalidRequest: no such choice, or it names a tool that is not there.
    """
    given = tuple(tools)
    if value is None or value == "auto":
        return ToolChoice(given)
    if value == "none":
        return ToolChoice()
    if value == "required":
        if not given:
            raise InvalidRequest("tool_choice is \"required\", but there are no tools: add some to 'tools'")
        return ToolChoice(given, given)
    if isinstance(value, Mapping):
        return _by_object(value, given)
    raise InvalidRequest(
        'tool_choice must be "auto", "none", "required" or {"type": "function", "function": {"name": "…"}}'
    )


def _by_object(value: Mapping[str, Any], tools: Tools) -> ToolChoice:
    kind = value.get("type")
    if kind == "allowed_tools":
        inner = value.get("allowed_tools")
        allowed: Mapping[str, Any] = inner if isinstance(inner, Mapping) else value
        listed = allowed.get("tools")
        if not isinstance(listed, list):
            raise InvalidRequest("tool_choice.allowed_tools.tools must be a list of tools")
        shown = tuple(_named(_name(each), tools) for each in listed)
        return read_tool_choice(allowed.get("mode", "auto"), shown)
    if kind != "function":
        raise InvalidRequest('tool_choice.type must be "function" or "allowed_tools"')
    return ToolChoice(tools, (_named(_name(value), tools),), is_named=True)


def _name(value: Any) -> str:
    """Give the name in `{"function": {"name": …}}`, or in the flat form of the Responses API."""
    if not isinstance(value, Mapping):
        raise InvalidRequest("tool_choice must name a function")
    inner = value.get("function")
    name = inner.get("name") if isinstance(inner, Mapping) else value.get("name")
    if not isinstance(name, str):
        raise InvalidRequest("tool_choice must name a function")
    return name


def _named(name: str, tools: Tools) -> Mapping[str, Any]:
    for tool in tools:
        if tool["function"]["name"] == name:
            return tool
    raise InvalidRequest(f"tool_choice names {name!r}, which is not among the tools")
