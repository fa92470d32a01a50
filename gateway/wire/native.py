"""Answers of `/api/generate` and `/api/chat`: field names and order as clients have recorded them.

The lines of a stream are put together from parts encoded once per answer; only the time and the text are new per line.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.answer import AnswerPart
from gateway.parse.events import CallClosed
from gateway.wire.json_text import escape_html, to_json, utc_now
from gateway.wire.logprobs import logprob_entries

NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"

_NOTHING = AnswerPart()
_encode = msgspec.json.Encoder().encode


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
    warnings: tuple[str, ...] = ()
    """What had no effect or was not kept; the same."""

    def figures(self) -> dict[str, Any]:
        """Give the fields behind the text of a last line."""
        figures: dict[str, Any] = msgspec.to_builtins(self.metrics)
        if self.truncated is not None:
            figures["truncated"] = msgspec.to_builtins(self.truncated)
        if self.warnings:
            figures["warnings"] = self.warnings
        return figures


class NativeWriter:
    """Writes the answer to one native request; the two routes differ in where the words stand."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._head = b'{"model":' + to_json(model) + b',"created_at":"'
        self._n_calls = 0

    def delta(self, part: AnswerPart) -> bytes:
        """One line of the stream."""
        logprobs = b',"logprobs":' + to_json(logprob_entries(part.logprobs)) if part.logprobs else b""
        return b"".join((self._head, utc_now().encode(), self._words(part), b',"done":false', logprobs, b"}\n"))

    def end(self, line: Line, part: AnswerPart = _NOTHING) -> bytes:
        """The last line of the stream, or the whole answer, without a newline."""
        answer: dict[str, Any] = {"model": self._model, "created_at": utc_now()}
        answer |= self._members(part) | {"done": True, "done_reason": line.done_reason}
        return to_json(answer | self._figures(line, part))

    def debug(self, rendered: str, n_images: int = 0) -> bytes:
        """The answer to `_debug_render_only`."""
        shown: dict[str, Any] = {"rendered_template": rendered}
        if n_images:
            shown["image_count"] = n_images
        answer: dict[str, Any] = {"model": self._model, "created_at": utc_now()}
        return to_json(answer | self._no_words() | {"done": False, "_debug_info": shown})

    def _words(self, part: AnswerPart) -> bytes:
        """Continue a line behind its time, from the closing quote on."""
        raise NotImplementedError

    def _members(self, part: AnswerPart) -> dict[str, Any]:
        raise NotImplementedError

    def _figures(self, line: Line, part: AnswerPart) -> dict[str, Any]:
        raise NotImplementedError

    def _no_words(self) -> dict[str, Any]:
        raise NotImplementedError

    def _calls(self, calls: Sequence[CallClosed]) -> list[dict[str, Any]]:
        """Give calls with their position in the whole answer."""
        first, self._n_calls = self._n_calls, self._n_calls + len(calls)
        return [_call(index, call) for index, call in enumerate(calls, first)]


class GenerateWriter(NativeWriter):
    """Writes the answer to one `/api/generate` request, whose prompt is one turn: it calls nothing."""

    def _words(self, part: AnswerPart) -> bytes:
        thought = b',"thinking":' + escape_html(_encode(part.thinking)) if part.thinking else b""
        return b'","response":' + escape_html(_encode(part.text)) + thought

    def _members(self, part: AnswerPart) -> dict[str, Any]:
        return {"response": part.text} | ({"thinking": part.thinking} if part.thinking else {})

    def _figures(self, line: Line, part: AnswerPart) -> dict[str, Any]:
        context = {"context": line.context} if line.context else {}
        logprobs = {"logprobs": logprob_entries(part.logprobs)} if part.logprobs else {}
        return context | line.figures() | logprobs

    def _no_words(self) -> dict[str, Any]:
        return {"response": ""}


class ChatWriter(NativeWriter):
    """Writes the answer to one `/api/chat` request."""

    def _words(self, part: AnswerPart) -> bytes:
        more = [b',"thinking":' + escape_html(_encode(part.thinking))] if part.thinking else []
        if part.calls:
            more.append(b',"tool_calls":' + to_json(self._calls(part.calls)))
        if part.is_unparsed:
            more.append(b',"unparsed":true')
        return b"".join((b'","message":{"role":"assistant","content":', escape_html(_encode(part.text)), *more, b"}"))

    def _members(self, part: AnswerPart) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": part.text}
        if part.thinking:
            message["thinking"] = part.thinking
        if part.calls:
            message["tool_calls"] = self._calls(part.calls)
        if part.is_unparsed:  # ours alone: some of the content looked like a call and could not be read as one
            message["unparsed"] = True
        return {"message": message}

    def _figures(self, line: Line, part: AnswerPart) -> dict[str, Any]:
        logprobs = {"logprobs": logprob_entries(part.logprobs)} if part.logprobs else {}
        return logprobs | line.figures()

    def _no_words(self) -> dict[str, Any]:
        return {"message": {"role": "", "content": ""}}


def _call(index: int, call: CallClosed) -> dict[str, Any]:
    arguments = msgspec.Raw(call.arguments.encode())
    return {"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}}
