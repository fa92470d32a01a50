"""Answers of `/api/generate` and `/api/chat`: field names and order as clients have recorded them.

The lines of a stream are put together from parts encoded once per answer; only the time and the text are new per line.
"""

from typing import Any

import msgspec

from gateway.wire.json_text import escape_html, to_json, utc_now

NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"

_text_encoder = msgspec.json.Encoder()


class Metrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Times and counts of a finished answer; zeros are left out."""

    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_cached_count: int = 0
    """How many of the prompt's tokens the KV cache spared; ours alone."""
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0


class Truncated(msgspec.Struct, frozen=True, kw_only=True):
    """Messages and tokens that a prompt lost."""

    messages: int
    tokens: int


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer's last line tells beside its text."""

    done_reason: str
    metrics: Metrics = Metrics()
    context: tuple[int, ...] = ()
    truncated: Truncated | None = None
    """What was cut from a prompt that did not fit; ours alone, so only there when something was."""

    def figures(self) -> dict[str, Any]:
        """Give the fields behind the text of a last line."""
        figures: dict[str, Any] = msgspec.to_builtins(self.metrics)
        if self.truncated is not None:
            figures["truncated"] = msgspec.to_builtins(self.truncated)
        return figures


class GenerateWriter:
    """Writes the answer to one `/api/generate` request."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._head = b'{"model":' + to_json(model) + b',"created_at":"'

    def delta(self, text: str, thinking: str = "") -> bytes:
        """One line of the stream."""
        encode = _text_encoder.encode
        thought = b',"thinking":' + escape_html(encode(thinking)) if thinking else b""
        return b"".join(
            (
                self._head,
                utc_now().encode(),
                b'","response":',
                escape_html(encode(text)),
                thought,
                b',"done":false}\n',
            )
        )

    def end(self, line: Line, text: str = "", thinking: str = "") -> bytes:
        """The last line of the stream, or the whole answer, without a newline."""
        answer: dict[str, Any] = {"model": self._model, "created_at": utc_now(), "response": text}
        if thinking:
            answer["thinking"] = thinking
        answer |= {"done": True, "done_reason": line.done_reason}
        if line.context:
            answer["context"] = line.context
        return to_json(answer | line.figures())


class ChatWriter:
    """Writes the answer to one `/api/chat` request."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._head = b'{"model":' + to_json(model) + b',"created_at":"'

    def delta(self, text: str, thinking: str = "") -> bytes:
        """One line of the stream."""
        encode = _text_encoder.encode
        thought = b',"thinking":' + escape_html(encode(thinking)) if thinking else b""
        return b"".join(
            (
                self._head,
                utc_now().encode(),
                b'","message":{"role":"assistant","content":',
                escape_html(encode(text)),
                thought,
                b'},"done":false}\n',
            )
        )

    def end(self, line: Line, text: str = "", thinking: str = "") -> bytes:
        """The last line of the stream, or the whole answer, without a newline."""
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thinking:
            message["thinking"] = thinking
        answer = {
            "model": self._model,
            "created_at": utc_now(),
            "message": message,
            "done": True,
            "done_reason": line.done_reason,
        }
        return to_json(answer | line.figures())
