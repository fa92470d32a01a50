"""Bodies of `/api/tokenize`, `/api/detokenize` and `/api/apply-template`, and what they answer."""

from typing import Any, ClassVar

import msgspec

from gateway.wire.native_requests import Message, TokenId
from gateway.wire.request_json import RequestBody


class InspectionRequest(RequestBody, frozen=True, kw_only=True):
    """What the three have in common; `options` matter only where they decide how the model is loaded."""

    model: str | None = None
    keep_alive: Any = None
    options: dict[str, Any] | None = None


class TokenizeRequest(InspectionRequest, frozen=True, kw_only=True):
    """Body of `POST /api/tokenize`."""

    go_name: ClassVar[str] = "api.TokenizeRequest"
    content: str | None = None
    add_special: bool | None = None
    """Whether the tokens that the model puts around every prompt are added; false if absent."""


class DetokenizeRequest(InspectionRequest, frozen=True, kw_only=True):
    """Body of `POST /api/detokenize`."""

    go_name: ClassVar[str] = "api.DetokenizeRequest"
    tokens: list[TokenId] | None = None


class ApplyTemplateRequest(InspectionRequest, frozen=True, kw_only=True):
    """Body of `POST /api/apply-template`."""

    go_name: ClassVar[str] = "api.ApplyTemplateRequest"
    go_types: ClassVar[dict[str, str]] = {
        "messages": "[]api.Message",
        "messages[]": "api.Message",
        "tools": "api.Tools",
        "tools[]": "api.Tool",
    }
    messages: list[Message] | None = None
    tools: list[dict[str, Any]] | None = None
    think: Any = None


class TokenizeReply(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a text."""

    model: str
    tokens: tuple[int, ...]
    total_duration: int
    load_duration: int


class DetokenizeReply(msgspec.Struct, frozen=True, kw_only=True):
    """The text of tokens."""

    model: str
    content: str
    total_duration: int
    load_duration: int


class ApplyTemplateReply(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as the model reads it."""

    model: str
    prompt: str
    prompt_eval_count: int
    """Its tokens, those included that the tokenizer adds."""
    total_duration: int
    load_duration: int
