"""Messages of `/v1/chat/completions` in the vocabulary of the native API.

Content in parts becomes one message per part, as Ollama has it, so prompts come out the same. Calls and reasoning
belong to the last of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from actors.errors import InvalidRequest
from actors.messages.job import ChatMessage, ToolCall, ToolFunction
from gateway.wire.fields import parse_image
from gateway.wire.openai_requests import ChatMessageItem, ToolCallItem

_IMAGE_HEADS = ("data:;base64,", *(f"data:image/{kind};base64," for kind in ("jpeg", "jpg", "png", "webp")))
_arguments = msgspec.json.Decoder(dict[str, Any])


def chat_messages(items: Sequence[ChatMessageItem]) -> list[ChatMessage]:
    """Convert a conversation.

    Raises:
        InvalidRequest: content, parts or arguments are not as they must be.
    """
    names = {call.id: call.function.name for item in items for call in item.tool_calls or () if call.id}
    return [message for item in items for message in _converted(item, names)]


def as_systems(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Give developers' messages to `system`, for models whose template has no such role."""
    return [msgspec.structs.replace(each, role="system") if each.role == "developer" else each for each in messages]


def _converted(item: ChatMessageItem, names: Mapping[str, str | None]) -> Sequence[ChatMessage]:
    role = (item.role or "").lower()
    parts = _parts(item)
    called = names.get(item.tool_call_id) if item.tool_call_id else None
    last = ChatMessage(
        role=role,
        content=parts[-1].text,
        media=parts[-1].media,
        thinking=item.reasoning or "",
        tool_calls=tuple(_call(call) for call in item.tool_calls or ()),
        tool_name=item.name or called or "",
        tool_call_id=item.tool_call_id or "",
    )
    return [*(ChatMessage(role=role, content=part.text, media=part.media) for part in parts[:-1]), last]


@dataclass(frozen=True, slots=True)
class _Part:
    text: str = ""
    media: tuple[bytes, ...] = ()


def _parts(item: ChatMessageItem) -> Sequence[_Part]:
    content = item.content
    if isinstance(content, str):
        return [_Part(content)]
    if isinstance(content, list):
        return [_part(part) for part in content] or [_Part()]
    if content is None and item.tool_calls:
        return [_Part()]
    raise InvalidRequest(f"invalid message content type: {_go_type(content)}")


def _part(part: Any) -> _Part:
    if not isinstance(part, dict):
        raise InvalidRequest("invalid message format")
    kind, text = part.get("type"), part.get("text")
    if kind == "text" and isinstance(text, str):
        return _Part(text)
    if kind == "image_url":
        image = part.get("image_url")
        return _Part(media=(image_of(image.get("url") if isinstance(image, dict) else image),))
    sound = part.get("input_audio")
    if kind == "input_audio" and isinstance(sound, dict) and isinstance(sound.get("data"), str):
        return _Part(media=(parse_image(sound["data"]),))
    raise InvalidRequest("invalid message format")


def image_of(url: Any) -> bytes:
    """Read an image from a data URL.

    Raises:
        InvalidRequest: it is none, or would have to be fetched.
    """
    if not isinstance(url, str):
        raise InvalidRequest("invalid message format")
    if url.startswith(("http://", "https://")):
        raise InvalidRequest("image URLs are not currently supported, please use base64 encoded data instead")
    head = next((head for head in _IMAGE_HEADS if url.startswith(head)), None)
    if head is None:
        raise InvalidRequest("invalid image input")
    return parse_image(url[len(head) :])


def _call(item: ToolCallItem) -> ToolCall:
    try:
        arguments = _arguments.decode(item.function.arguments or "{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("invalid tool call arguments") from error
    return ToolCall(id=item.id or "", function=ToolFunction(name=item.function.name or "", arguments=arguments))


def _go_type(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    return "float64" if isinstance(value, int | float) else "map[string]interface {}"
