"""Answers of `/v1/messages`: the whole message, or its events in the order that Anthropic's clients rely on.

    message_start, then per block: content_block_start, content_block_delta …, content_block_stop; message_delta,
    message_stop. A failure is an `error` event, after which nothing follows.

Blocks never overlap: text after thinking, or a call after text, closes the block before it. The frames of a block are
put together from parts encoded once; only the text is new per frame. Input tokens leave out those that the KV cache
spared, which are told as `cache_read_input_tokens`, because clients add the two.
"""

import secrets
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.parse.events import CallClosed
from gateway.wire.json_text import escape_html, to_json

_text_encoder = msgspec.json.Encoder()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of an answer."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Why an answer ended; `stop_sequence` is the one of the request that was met."""

    stop_reason: str | None = None
    stop_sequence: str | None = None


def stop_of(reason: str, *, sequence: str | None, has_calls: bool) -> Stop:
    """Translate the native reason for an answer's end."""
    if sequence is not None:
        return Stop(stop_reason="stop_sequence", stop_sequence=sequence)
    if has_calls and reason == "stop":
        return Stop(stop_reason="tool_use")
    return Stop(stop_reason={"stop": "end_turn", "length": "max_tokens"}.get(reason, "end_turn"))


def event(name: str, **fields: Any) -> bytes:
    """Encode one server-sent event, whose payload repeats its name."""
    return b"event: " + name.encode() + b"\ndata: " + to_json({"type": name, **fields}) + b"\n\n"


class MessageWriter:
    """Writes the answer to one `/v1/messages` request."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._id = f"msg_{secrets.token_hex(12)}"
        self._index = -1
        self._open = ""
        """The type of the block that is open; empty for none."""
        self._delta_head = b""
        self.has_calls = False
        """True iff a call was written."""

    def start(self, usage: Usage) -> bytes:
        """The first event of a stream."""
        return event("message_start", message=self._message([], Stop(), usage))

    def delta(self, text: str = "", thinking: str = "", calls: Iterable[CallClosed] = ()) -> bytes:
        """The events of what is new: thinking, text and whole calls, in this order."""
        frames = b""
        if thinking:
            frames += self._begin("thinking") + self._piece(thinking)
        if text:
            frames += self._begin("text") + self._piece(text)
        for call in calls:
            frames += self._call(call)
        return frames

    def end(self, stop: Stop, usage: Usage) -> bytes:
        """The last events of a stream."""
        return self._close() + event("message_delta", delta=stop, usage=usage) + event("message_stop")

    def whole(self, text: str, thinking: str, calls: Iterable[CallClosed], stop: Stop, usage: Usage) -> bytes:
        """The whole answer at once."""
        content: list[dict[str, Any]] = []
        if thinking:
            content.append({"type": "thinking", "thinking": thinking, "signature": ""})
        if text:
            content.append({"type": "text", "text": text})
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": msgspec.Raw(call.arguments.encode())}
            for call in calls
        ]
        return to_json(self._message(content, stop, usage)) + b"\n"

    def _message(self, content: list[dict[str, Any]], stop: Stop, usage: Usage) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": stop.stop_reason,
            "stop_sequence": stop.stop_sequence,
            "usage": usage,
        }

    def _begin(self, kind: str) -> bytes:
        """Open a block of text or thinking unless it is open already."""
        if self._open == kind:
            return b""
        extra = {"signature": ""} if kind == "thinking" else {}
        opened = self._open_block(kind, {"type": kind, kind: "", **extra})
        head = {"type": "content_block_delta", "index": self._index, "delta": {"type": f"{kind}_delta", kind: ""}}
        self._delta_head = b"event: content_block_delta\ndata: " + to_json(head)[: -len('""}}')]
        return opened

    def _open_block(self, kind: str, block: dict[str, Any]) -> bytes:
        closed = self._close()
        self._open = kind
        self._index += 1
        return closed + event("content_block_start", index=self._index, content_block=block)

    def _piece(self, text: str) -> bytes:
        return self._delta_head + escape_html(_text_encoder.encode(text)) + b"}}\n\n"

    def _call(self, call: CallClosed) -> bytes:
        self.has_calls = True
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": call.arguments}
        return (
            self._open_block("tool_use", block)
            + event("content_block_delta", index=self._index, delta=delta)
            + self._close()
        )

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return event("content_block_stop", index=self._index)
