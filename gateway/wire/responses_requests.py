"""Body of `POST /v1/responses`, as clients send it.

`Any` stands where the value's check has a text of its own.
"""

from typing import Any, ClassVar

import msgspec

from gateway.wire.openai_requests import Reasoning
from gateway.wire.request_json import RequestBody


class TextOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the text of an answer shall look like."""

    format: dict[str, Any] | None = None


class ResponsesRequest(RequestBody, frozen=True, kw_only=True):
    """Body of `POST /v1/responses`; what a route only shows again is not looked into."""

    go_name: ClassVar[str] = "openai.ResponsesRequest"
    model: str | None = None
    input: Any = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    reasoning: Reasoning | None = None
    text: TextOptions | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    truncation: str | None = None
    background: bool | None = None
    metadata: dict[str, Any] | None = None
    max_tool_calls: int | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    keep_alive: Any = None
    """As in the native API; an extension."""
    options: dict[str, Any] | None = None
    """Native options; an extension."""
