"""Bodies of `/v1/messages` and `/v1/messages/count_tokens`, as Anthropic's clients send them.

Fields that only that service can use (`metadata`, `cache_control`, `service_tier`, betas) are skipped like any unknown
one. Blocks of content are one struct with the fields of every type, because which are needed is told by `type` and
checked in `gateway.wire.anthropic_messages`, where the error can name the block.
"""

from typing import Any, ClassVar

import msgspec

from gateway.wire.request_json import RequestBody


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bytes of an image or the text of a document come from."""

    type: str | None = None
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: "str | list[ContentBlock] | None" = None


class ContentBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a message."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    source: Source | str | None = None
    title: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: "str | list[ContentBlock] | dict[str, Any] | None" = None


class MessageItem(msgspec.Struct, frozen=True, kw_only=True):
    """One turn."""

    role: str | None = None
    content: str | list[ContentBlock] | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call; with a dated `type`, one that Anthropic's own service runs."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the model may, must or must not call tools."""

    type: str | None = None
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the model shall think."""

    type: str | None = None
    budget_tokens: int | None = None


class OutputFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer shall look like."""

    type: str | None = None
    schema: dict[str, Any] | None = None


class OutputConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How much effort the answer is worth, and its form."""

    effort: str | None = None
    format: OutputFormat | None = None


class CountTokensRequest(RequestBody, frozen=True, kw_only=True):
    """Body of `POST /v1/messages/count_tokens`: all of a request that becomes prompt."""

    go_name: ClassVar[str] = "anthropic.MessagesRequest"
    go_types: ClassVar[dict[str, str]] = {
        "messages": "[]anthropic.MessageParam",
        "messages[]": "anthropic.MessageParam",
        "messages.content": "[]anthropic.ContentBlock",
        "tools": "[]anthropic.Tool",
        "tools[]": "anthropic.Tool",
    }
    model: str | None = None
    messages: list[MessageItem] | None = None
    system: str | list[ContentBlock] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None


class MessagesRequest(CountTokensRequest, frozen=True, kw_only=True):
    """Body of `POST /v1/messages`."""

    max_tokens: int | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
