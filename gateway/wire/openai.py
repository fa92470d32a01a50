"""What answers of `/v1` have in common, and those of `/v1/completions`: field names and order as clients know them.

The frames of a stream are put together from parts encoded once per answer; only the text is new per frame.
"""

import secrets
import time
from typing import Any

import msgspec

from gateway.wire.json_text import escape_html, to_json

EVENT_STREAM = "text/event-stream"
JSON = "application/json"
DONE = b"data: [DONE]\n\n"
FINGERPRINT = "fp_ollama"

_text_encoder = msgspec.json.Encoder()


class PromptTokensDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What the prompt's tokens were."""

    cached_tokens: int = 0


class CompletionTokensDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer's tokens were."""

    reasoning_tokens: int = 0


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Token counts of an answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


NO_USAGE = Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0)


def usage_of(prompt_tokens: int, completion_tokens: int, *, cached_tokens: int = 0, reasoning_tokens: int = 0) -> Usage:
    """Add the counts up; details are told where there are any."""
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=cached_tokens) if cached_tokens else None,
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=reasoning_tokens)
        if reasoning_tokens
        else None,
    )


def frame(value: Any) -> bytes:
    """Encode one server-sent event."""
    return b"data: " + to_json(value) + b"\n\n"


class CompletionWriter:
    """Writes the answer to one `/v1/completions` request; `tells_usage` adds a zeroed `usage` to every frame."""

    def __init__(self, model: str, *, tells_usage: bool) -> None:
        self._base: dict[str, Any] = {
            "id": f"cmpl-{secrets.randbelow(10**12)}",
            "object": "text_completion",
            "created": int(time.time()),
        }
        self._names: dict[str, Any] = {"model": model, "system_fingerprint": FINGERPRINT}
        self._tells_usage = tells_usage
        tail: dict[str, Any] = self._names | ({"usage": NO_USAGE} if tells_usage else {})
        self._head = b"data: " + to_json(self._base)[:-1] + b',"choices":[{"text":'
        self._tail = b',"index":0,"finish_reason":null}],' + to_json(tail)[1:] + b"\n\n"

    def delta(self, text: str) -> bytes:
        """One frame of the stream."""
        return self._head + escape_html(_text_encoder.encode(text)) + self._tail

    def debug(self, rendered: str) -> bytes:
        """The answer to `_debug_render_only`."""
        shown = {"_debug_info": {"rendered_template": rendered}}
        choice = {"text": "", "index": 0, "finish_reason": None}
        return to_json(self._base | self._names | {"choices": [choice], "usage": NO_USAGE} | shown) + b"\n"

    def end(self, reason: str, usage: Usage) -> bytes:
        """The last frames of the stream."""
        choice = {"text": "", "index": 0, "finish_reason": reason}
        last = self._base | {"choices": [choice]} | self._names
        if not self._tells_usage:
            return frame(last) + DONE
        return (
            frame(last | {"usage": NO_USAGE})
            + frame(self._base | {"choices": []} | self._names | {"usage": usage})
            + DONE
        )

    def whole(self, text: str, reason: str, usage: Usage) -> bytes:
        """The whole answer at once."""
        choice = {"text": text, "index": 0, "finish_reason": reason}
        return to_json(self._base | self._names | {"choices": [choice], "usage": usage}) + b"\n"
