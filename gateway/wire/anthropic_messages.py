"""Anthropic's messages, tools and thinking in the vocabulary of the native API.

The texts of a turn are joined. Tool results stand in a user's turn there; here they are messages of their own, before
the rest of that turn. What a model cannot be shown is refused by its place in the request, never dropped, except for
what only Anthropic's service can read (redacted thinking, results of its own tools).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actors.errors import InvalidRequest
from actors.messages.job import MEDIA_PLACE, ChatMessage, Grammar, ToolCall, ToolFunction
from gateway.wire.anthropic_requests import (
    ContentBlock,
    CountTokensRequest,
    MessageItem,
    OutputConfig,
    Source,
    Thinking,
    Tool,
)
from gateway.wire.anthropic_requests import ToolChoice as ToolChoiceItem
from gateway.wire.fields import parse_image
from gateway.wire.grammars import schema_grammar
from gateway.wire.tool_choice import ToolChoice, read_tool_choice

_OPAQUE = {
    "redacted_thinking",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "mcp_tool_use",
    "mcp_tool_result",
    "container_upload",
}
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}


def chat_messages(body: CountTokensRequest) -> list[ChatMessage]:
    """Convert a conversation, its system text first.

    Raises:
        InvalidRequest: a block is not as it must be, or cannot be shown to a model here.
    """
    items = body.messages or []
    names = {
        block.id: block.name
        for item in items
        if isinstance(item.content, list)
        for block in item.content
        if block.type == "tool_use" and block.id
    }
    system = _text_of(body.system, "system")
    messages = [ChatMessage(role="system", content=system)] if system else []
    for index, item in enumerate(items):
        messages += _converted(item, names, f"messages[{index}]")
    return messages


def native_tools(tools: Sequence[Tool] | None) -> tuple[dict[str, Any], ...]:
    """Convert the tools that the client runs itself.

    Raises:
        InvalidRequest: one has no name or schema, or is a tool that Anthropic's service would run.
    """
    return tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools or ()))


def tool_choice(choice: ToolChoiceItem | None, tools: Sequence[Mapping[str, Any]]) -> ToolChoice:
    """Read which tools may be called and whether one must.

    Raises:
        InvalidRequest: no such choice, or it names a tool that is not there.
    """
    if choice is None:
        return ToolChoice(tuple(tools))
    match choice.type:
        case "auto" | "none":
            return read_tool_choice(choice.type, tools)
        case "any":
            if not tools:
                raise InvalidRequest('tool_choice.type "any" needs tools')
            return read_tool_choice("required", tools)
        case "tool":
            name = _required(choice.name, "tool_choice.name")
            return read_tool_choice({"type": "function", "function": {"name": name}}, tools)
    raise InvalidRequest('tool_choice.type must be "auto", "any", "tool" or "none"')


def answer_grammar(config: OutputConfig | None) -> Grammar | None:
    """Read the form that the answer shall have.

    Raises:
        InvalidRequest: it is none, or its schema cannot be used.
    """
    wanted = config.format if config is not None else None
    if wanted is None:
        return None
    if wanted.type != "json_schema":
        raise InvalidRequest('output_config.format.type must be "json_schema"')
    if wanted.schema is None:
        raise InvalidRequest("output_config.format.schema is required: a JSON Schema object")
    return schema_grammar(wanted.schema)


def think_value(body: CountTokensRequest) -> bool | str | None:
    """Give the `think` value that a request asks for; effort decides where `thinking` does not.

    Raises:
        InvalidRequest: no such effort.
    """
    decided = {"enabled": True, "disabled": False}.get((body.thinking or Thinking()).type or "")
    effort = body.output_config.effort if body.output_config is not None else None
    if effort and effort not in _EFFORTS:
        raise InvalidRequest(f'output_config.effort: "{effort}" is none of {", ".join(_EFFORTS)}')
    if decided is not None or not effort:
        return decided
    return _EFFORTS[effort]


def _converted(item: MessageItem, names: Mapping[str, str | None], where: str) -> Iterable[ChatMessage]:
    if item.content is None:
        raise InvalidRequest(f"{where}.content is required: a text or a list of content blocks")
    role = (item.role or "").lower()
    if not role:
        raise InvalidRequest(f'{where}.role is required: "user" or "assistant"')
    if isinstance(item.content, str):
        return [ChatMessage(role=role, content=item.content)]
    turn = _Turn(names)
    for index, block in enumerate(item.content):
        turn.add(block, f"{where}.content[{index}]")
    return turn.messages(role)


class _Turn:
    """Gathers the blocks of one turn; `names` are those of the tools called before, by the call's id."""

    def __init__(self, names: Mapping[str, str | None]) -> None:
        self._names = names
        self.texts: list[str] = []
        self.media: list[bytes] = []
        self._thinking: list[str] = []
        self._calls: list[ToolCall] = []
        self._results: list[ChatMessage] = []

    def add(self, block: ContentBlock, where: str) -> None:
        """Take a block."""
        match block.type:
            case "thinking":
                self._thinking.append(_required(block.thinking, f"{where}.thinking"))
            case "tool_use":
                self._calls.append(_call(block, where))
            case "tool_result":
                self._results.append(self._result(block, where))
            case _:
                self.show(block, where)

    def show(self, block: ContentBlock, where: str) -> None:
        """Take a block that holds nothing but what the model shall read or see."""
        if block.type == "image":
            self.texts.append(MEDIA_PLACE)
            self.media.append(_image(block.source, where))
        else:
            self.texts += _shown(block, where)

    def messages(self, role: str) -> list[ChatMessage]:
        """Give the turn; results come first, and one of nothing but results is no turn of its own."""
        texts = "".join(self.texts)
        if self._results and not (texts or self._thinking or self._calls):
            return self._results
        said = ChatMessage(
            role=role,
            content=texts,
            thinking="".join(self._thinking),
            tool_calls=tuple(self._calls),
            media=tuple(self.media),
        )
        return [*self._results, said]

    def _result(self, block: ContentBlock, where: str) -> ChatMessage:
        call_id = _required(block.tool_use_id, f"{where}.tool_use_id")
        content = block.content
        if isinstance(content, dict):
            raise InvalidRequest(f"{where}.content: a text or a list of content blocks is expected")
        seen = _Turn({})
        for index, part in enumerate(content if isinstance(content, list) else ()):
            seen.show(part, f"{where}.content[{index}]")
        return ChatMessage(
            role="tool",
            content="".join(seen.texts) if isinstance(content, list) else content or "",
            media=tuple(seen.media),
            tool_name=self._names.get(call_id) or "",
            tool_call_id=call_id,
        )


def _text_of(content: str | Sequence[ContentBlock] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(text for index, block in enumerate(content) for text in _shown(block, f"{where}[{index}]"))


def _shown(block: ContentBlock, where: str) -> Sequence[str]:
    """Give the texts of a block that holds nothing but what the model shall read."""
    match block.type:
        case "text":
            return [_required(block.text, f"{where}.text")]
        case "image":
            raise InvalidRequest(f"{where}: an image can stand in a message or a tool result only")
        case "document":
            return [_document(block, where)]
        case "search_result":
            return [_search_result(block, where)]
        case kind if kind in _OPAQUE:
            return []
        case None:
            raise InvalidRequest(f"{where}.type is required")
    raise InvalidRequest(f'{where}.type: content blocks of type "{block.type}" are not supported here')


def _call(block: ContentBlock, where: str) -> ToolCall:
    call_id, name = _required(block.id, f"{where}.id"), _required(block.name, f"{where}.name")
    return ToolCall(id=call_id, function=ToolFunction(name=name, arguments=block.input or {}))


def _image(source: Source | str | None, where: str) -> bytes:
    kind = source.type if isinstance(source, Source) else source
    if not isinstance(source, Source) or kind != "base64":
        raise InvalidRequest(f"invalid image source type: {kind}. Only base64 images are supported. ({where})")
    return parse_image(_required(source.data, f"{where}.source.data"))


def _document(block: ContentBlock, where: str) -> str:
    source = block.source
    if not isinstance(source, Source) or source.type not in {"text", "content"}:
        raise InvalidRequest(f"{where}.source: only documents whose source is text or content can be read here")
    title = f"{block.title}\n" if block.title else ""
    if source.type == "text":
        return title + _required(source.data, f"{where}.source.data")
    return title + _text_of(source.content, f"{where}.source.content")


def _search_result(block: ContentBlock, where: str) -> str:
    if isinstance(block.content, dict):
        raise InvalidRequest(f"{where}.content: a list of content blocks is expected")
    source = block.source if isinstance(block.source, str) else ""
    return json.dumps(
        {"title": block.title or "", "source": source, "content": _text_of(block.content, f"{where}.content")},
        ensure_ascii=False,
    )


def _tool(tool: Tool, where: str) -> dict[str, Any]:
    if tool.type not in {None, "", "custom", "function"}:
        raise InvalidRequest(
            f'{where}.type: "{tool.type}" runs on Anthropic\'s service only: give a tool with an input_schema instead'
        )
    if tool.input_schema is None:
        raise InvalidRequest(f"{where}.input_schema is required")
    function = {"name": _required(tool.name, f"{where}.name"), "description": tool.description or ""}
    return {"type": "function", "function": {**function, "parameters": tool.input_schema}}


def _required(value: str | None, where: str) -> str:
    if value is None:
        raise InvalidRequest(f"{where} is required")
    return value
