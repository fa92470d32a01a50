"""The input of `/v1/responses` in the vocabulary of the native API.

Items become messages: calls in a row are one message of the assistant, to which text between a call and its output
belongs, too; reasoning belongs to the message of the assistant behind it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from actors.errors import InvalidRequest
from actors.messages.job import ChatMessage, ToolCall, ToolFunction
from gateway.wire.openai_messages import image_of

_arguments = msgspec.json.Decoder(dict[str, Any])
_ROLES = ("user", "assistant", "system", "developer")
_TEXT_PARTS = ("input_text", "output_text", "text")
_IGNORED = ("web_search_call",)


def input_messages(value: Any) -> list[ChatMessage]:
    """Convert the `input` of a request.

    Raises:
        InvalidRequest: it is no text and no list of items that are known.
    """
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [ChatMessage(role="user", content=value)]
    if not isinstance(value, list):
        raise InvalidRequest(
            f"input must be a string or array: json: cannot unmarshal {_kind(value)} into Go value of type "
            "[]json.RawMessage"
        )
    conversion = _Conversion()
    for index, item in enumerate(value):
        conversion.add(f"input[{index}]", item)
    return conversion.messages


def native_tools(tools: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Give the functions among the tools in the native form, those of namespaces under their full names.

    The model is not told of tools of other types, which no function of the client's stands behind.

    Raises:
        InvalidRequest: a function has no name.
    """
    found = []
    for index, tool in enumerate(tools):
        if tool.get("type") == "function":
            found.append(_function(f"tools[{index}]", tool, ""))
        elif tool.get("type") == "namespace" and isinstance(tool.get("tools"), list):
            members = [each for each in tool["tools"] if isinstance(each, dict) and each.get("type") == "function"]
            found += [_function(f"tools[{index}]", each, f"{tool.get('name')}.") for each in members]
    return tuple(found)


def _function(where: str, tool: dict[str, Any], prefix: str) -> dict[str, Any]:
    if not isinstance(tool.get("name"), str) or not tool["name"]:
        raise InvalidRequest(f"{where}.name must be the name of a function")
    function = {"name": prefix + tool["name"], "description": tool.get("description") or ""}
    if tool.get("parameters") is not None:
        function["parameters"] = tool["parameters"]
    return {"type": "function", "function": function}


class _Conversion:
    """One pass over the items of an input."""

    def __init__(self) -> None:
        self.messages: list[ChatMessage] = []
        self._thinking = ""
        self._names: dict[str, str] = {}
        self._open_calls: set[str] = set()

    def add(self, where: str, item: Any) -> None:
        """Take the next item."""
        if not isinstance(item, dict):
            raise InvalidRequest(f"{where} must be an object")
        kind = item.get("type", "message" if "role" in item else None)
        match kind:
            case "message":
                self._message(where, item)
            case "function_call":
                self._call(where, item)
            case "function_call_output":
                self._output(where, item)
            case "reasoning":
                self._thinking += _reasoning(item)
            case _ if kind not in _IGNORED:
                raise InvalidRequest(f'{where}: unknown input item type: "{kind or ""}"')

    def _message(self, where: str, item: dict[str, Any]) -> None:
        role = item.get("role")
        if role not in _ROLES:
            raise InvalidRequest(f"{where}.role must be one of {', '.join(_ROLES)}")
        text, media = _content(f"{where}.content", item.get("content"))
        if role == "assistant" and self._open_calls and self.messages[-1].tool_calls:
            said = self.messages[-1]
            self.messages[-1] = msgspec.structs.replace(said, content=said.content + text)
            return
        thinking = self._taken_thinking() if role == "assistant" else ""
        self.messages.append(ChatMessage(role=role, content=text, thinking=thinking, media=media))

    def _call(self, where: str, item: dict[str, Any]) -> None:
        name, call_id, arguments = item.get("name"), item.get("call_id"), item.get("arguments") or "{}"
        if not isinstance(name, str) or not isinstance(call_id, str):
            raise InvalidRequest(f"{where} needs a name and a call_id")
        try:
            decoded = _arguments.decode(arguments)
        except (msgspec.MsgspecError, TypeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"{where}.arguments must be a JSON object in a string") from error
        self._names[call_id] = name
        self._open_calls.add(call_id)
        call = ToolCall(id=call_id, function=ToolFunction(name=name, arguments=decoded))
        last = self.messages[-1] if self.messages else None
        if last is not None and last.role == "assistant" and not self._thinking:
            self.messages[-1] = msgspec.structs.replace(last, tool_calls=(*last.tool_calls, call))
        else:
            self.messages.append(ChatMessage(role="assistant", thinking=self._taken_thinking(), tool_calls=(call,)))

    def _output(self, where: str, item: dict[str, Any]) -> None:
        call_id = item.get("call_id")
        if not isinstance(call_id, str):
            raise InvalidRequest(f"{where}.call_id must be the id of a call")
        self._open_calls.discard(call_id)
        text, media = _content(f"{where}.output", item.get("output"))
        name = self._names.get(call_id, "")
        said = ChatMessage(role="tool", content=text, tool_name=name, tool_call_id=call_id, media=media)
        self.messages.append(said)

    def _taken_thinking(self) -> str:
        thinking, self._thinking = self._thinking, ""
        return thinking


def _reasoning(item: dict[str, Any]) -> str:
    """Give the thinking in a reasoning item: ours is in `encrypted_content`, as it is."""
    if isinstance(item.get("encrypted_content"), str):
        return str(item["encrypted_content"])
    parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _content(where: str, content: Any) -> tuple[str, tuple[bytes, ...]]:
    """Give the text and the images of a content."""
    if content is None:
        return "", ()
    if isinstance(content, str):
        return content, ()
    if not isinstance(content, list):
        raise InvalidRequest(f"{where} must be a string or a list of parts")
    texts, media = [], []
    for index, part in enumerate(content):
        if isinstance(part, dict) and part.get("type") == "input_image":
            media.append(image_of(part.get("image_url")))
        else:
            texts.append(_part(f"{where}[{index}]", part))
    return "".join(texts), tuple(media)


def _part(where: str, part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return str(part["refusal"])
    if kind == "input_file":
        raise InvalidRequest("file inputs are not currently supported")
    raise InvalidRequest(f"{where} must be a part of type input_text, output_text or input_image")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "object"
