"""Bodies of the chat and completion routes of `/v1`, as clients send them.

`Any` stands where the value's check has a text of its own, or where other types are ignored.
"""

from typing import Any, ClassVar

import msgspec

from gateway.wire.request_json import RequestBody


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream shall tell beside the text."""

    include_usage: bool | None = None


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """How much the model shall think."""

    effort: str | None = None
    summary: str | None = None


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer shall look like."""

    type: str | None = None
    json_schema: dict[str, Any] | None = None
    pattern: str | None = None
    grammar: str | None = None


class Sampling(RequestBody, frozen=True, kw_only=True):
    """What both routes have in common."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: Any = None
    lora: Any = None
    logit_bias: dict[str, float] | None = None
    keep_alive: Any = None
    """As in the native API; an extension."""
    options: dict[str, Any] | None = None
    """Native options; an extension."""
    debug_render_only: bool | None = msgspec.field(name="_debug_render_only", default=None)

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with the token counts."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class ToolCallFunction(msgspec.Struct, frozen=True, kw_only=True):
    """The call inside a tool call of the history; `arguments` is JSON in a string."""

    name: str | None = None
    arguments: str | None = None


class ToolCallItem(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call of the history."""

    id: str | None = None
    function: ToolCallFunction = ToolCallFunction()


class ChatMessageItem(msgspec.Struct, frozen=True, kw_only=True):
    """A message; `content` is a text, a list of parts or null."""

    role: str | None = None
    content: Any = None
    reasoning: str | None = None
    tool_calls: list[ToolCallItem] | None = None
    name: str | None = None
    tool_call_id: str | None = None


class ChatCompletionRequest(Sampling, frozen=True, kw_only=True):
    """Body of `POST /v1/chat/completions`."""

    go_name: ClassVar[str] = "openai.ChatCompletionRequest"
    go_types: ClassVar[dict[str, str]] = {
        "messages": "[]openai.Message",
        "messages[]": "openai.Message",
        "tools": "[]api.Tool",
        "tools[]": "api.Tool",
    }
    messages: list[ChatMessageItem] | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    tools: list[dict[str, Any]] | None = None
    reasoning: Reasoning | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class CompletionRequest(Sampling, frozen=True, kw_only=True):
    """Body of `POST /v1/completions`."""

    go_name: ClassVar[str] = "openai.CompletionRequest"
    prompt: str | None = None
    suffix: str | None = None
    logprobs: int | None = None


class EmbedRequest(RequestBody, frozen=True, kw_only=True):
    """Body of `POST /v1/embeddings`; `input` is a text or a list of texts."""

    go_name: ClassVar[str] = "openai.EmbedRequest"
    model: str | None = None
    input: Any = None
    dimensions: int | None = None
    encoding_format: str | None = None
