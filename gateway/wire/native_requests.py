"""Bodies of the native routes (`/api/*`), as clients send them.

Fields that may be null are typed so; `Any` and `Raw` stand where the value's check has a text of its own.
"""

from typing import Annotated, Any, ClassVar

import msgspec

from gateway.wire.request_json import RequestBody
from registry.create import CreateRequest

_NOTHING = msgspec.Raw(b"")
_LARGEST_RATE = 1 << 40
_MAX_TOKEN_ID = (1 << 31) - 1

TokenId = Annotated[int, msgspec.Meta(ge=0, le=_MAX_TOKEN_ID)]


class Inference(RequestBody, frozen=True, kw_only=True):
    """What `/api/generate` and `/api/chat` have in common."""

    model: str | None = None
    stream: bool | None = None
    format: msgspec.Raw = _NOTHING
    keep_alive: Any = None
    options: dict[str, Any] | None = None
    think: Any = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    progress: bool | None = None
    """Whether a stream tells its progress before the first token; ours alone."""
    lora: Any = None
    debug_render_only: bool | None = msgspec.field(name="_debug_render_only", default=None)


class GenerateRequest(Inference, frozen=True, kw_only=True):
    """Body of `POST /api/generate`."""

    go_name: ClassVar[str] = "api.GenerateRequest"
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[TokenId] | None = None
    raw: bool | None = None
    images: list[str] | None = None


class ToolCallFunction(msgspec.Struct, frozen=True, kw_only=True):
    """The call inside a tool call of the history."""

    name: str | None = None
    arguments: dict[str, Any] | None = None


class ToolCallItem(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call of the history."""

    id: str | None = None
    function: ToolCallFunction = ToolCallFunction()


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message of `POST /api/chat`."""

    role: str | None = None
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCallItem] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class ChatRequest(Inference, frozen=True, kw_only=True):
    """Body of `POST /api/chat`."""

    go_name: ClassVar[str] = "api.ChatRequest"
    go_types: ClassVar[dict[str, str]] = {
        "messages": "[]api.Message",
        "messages[]": "api.Alias",
        "tools": "api.Tools",
        "tools[]": "api.Tool",
    }
    messages: list[Message] | None = None
    tools: list[dict[str, Any]] | None = None


class NamedRequest(RequestBody, frozen=True, kw_only=True):
    """A body that names a model, by the current or the deprecated field."""

    model: str | None = None
    name: str | None = None

    @property
    def model_name(self) -> str:
        """The name given, or an empty text."""
        return self.model or self.name or ""


class PullRequest(NamedRequest, frozen=True, kw_only=True):
    """Body of `POST /api/pull`; `as` and `max_rate` are ours."""

    go_name: ClassVar[str] = "api.PullRequest"
    insecure: bool | None = None
    stream: bool | None = None
    target: str | None = msgspec.field(default=None, name="as")
    """Name for a model that comes from a URL or a file."""
    max_rate: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_RATE)] | None = None
    """Bytes per second."""


class PushRequest(NamedRequest, frozen=True, kw_only=True):
    """Body of `POST /api/push`."""

    go_name: ClassVar[str] = "api.PushRequest"
    insecure: bool | None = None
    stream: bool | None = None


class ShowRequest(NamedRequest, frozen=True, kw_only=True):
    """Body of `POST /api/show`."""

    go_name: ClassVar[str] = "api.ShowRequest"
    verbose: bool | None = None
    system: str | None = None
    options: dict[str, Any] | None = None


class PinRequest(NamedRequest, frozen=True, kw_only=True):
    """Body of `POST /api/pin`; `pin` false lets the model go again."""

    go_name: ClassVar[str] = "api.PinRequest"
    pin: bool | None = None


class DrainRequest(RequestBody, frozen=True, kw_only=True):
    """Body of `POST /api/drain`; `target` is a host or a runner, `drain` false lets a host take models again."""

    go_name: ClassVar[str] = "api.DrainRequest"
    target: str | None = None
    drain: bool | None = None


class DeleteRequest(NamedRequest, frozen=True, kw_only=True):
    """Body of `DELETE /api/delete`."""

    go_name: ClassVar[str] = "api.DeleteRequest"


class CopyRequest(RequestBody, frozen=True, kw_only=True):
    """Body of `POST /api/copy`."""

    go_name: ClassVar[str] = "api.CopyRequest"
    source: str | None = None
    destination: str | None = None


class CreateBody(CreateRequest, RequestBody, frozen=True, kw_only=True):
    """Body of `POST /api/create`."""

    go_name: ClassVar[str] = "api.CreateRequest"
    go_types: ClassVar[dict[str, str]] = {"messages": "[]api.Message", "messages[]": "api.Alias"}


class EmbedRequest(RequestBody, frozen=True, kw_only=True):
    """Body of `POST /api/embed`; `input` is a text or a list of texts."""

    go_name: ClassVar[str] = "api.EmbedRequest"
    model: str | None = None
    input: Any = None
    truncate: bool | None = None
    dimensions: int | None = None
    keep_alive: Any = None
    options: dict[str, Any] | None = None


class EmbeddingRequest(RequestBody, frozen=True, kw_only=True):
    """Body of `POST /api/embeddings`, the older route for one text."""

    go_name: ClassVar[str] = "api.EmbeddingRequest"
    model: str | None = None
    prompt: str | None = None
    keep_alive: Any = None
    options: dict[str, Any] | None = None


class RerankRequest(RequestBody, frozen=True, kw_only=True):
    """Body of `POST /api/rerank` and `POST /v1/rerank`; a document is a text, or an object with a `text`."""

    go_name: ClassVar[str] = "api.RerankRequest"
    model: str | None = None
    query: str | None = None
    documents: Any = None
    top_n: int | None = None
    return_documents: bool | None = None
    truncate: bool | None = None
    keep_alive: Any = None
    options: dict[str, Any] | None = None
