"""Answers of `/v1/chat/completions`: field names and order as clients have recorded them.

The frames of a stream are put together from parts encoded once per answer; only the text is new per frame. What came
together and is of one kind shares a frame. The arguments of a call are told as they come.
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gateway.answer import AnswerPart
from gateway.parse.events import CallArguments, CallClosed, CallOpened, Event, Text, Thought
from gateway.wire.json_text import escape_html, to_json
from gateway.wire.logprobs import logprob_entries
from gateway.wire.openai import DONE, FINGERPRINT, Usage, frame

_encode = msgspec.json.Encoder().encode


class _Choice:
    """What a stream must remember of one choice."""

    def __init__(self, base: bytes, index: int) -> None:
        self.head = base + f',"choices":[{{"index":{index},"delta":{{'.encode()
        self.is_begun = False
        self.has_calls = False


class ChatCompletionWriter:
    """Writes the answer to one `/v1/chat/completions` request."""

    def __init__(self, model: str, *, n_choices: int = 1) -> None:
        self._base: dict[str, Any] = {
            "id": f"chatcmpl-{secrets.randbelow(10**12)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": FINGERPRINT,
        }
        base = b"data: " + to_json(self._base)[:-1]
        self._choices = [_Choice(base, index) for index in range(n_choices)]

    def delta(self, part: AnswerPart, index: int = 0) -> bytes:
        """The frames of what is new of one choice; log probabilities stand in the first of them."""
        choice = self._choices[index]
        logprobs = part.logprobs
        frames = []
        for events in _runs(part.events):
            delta = _delta(events, choice)
            if delta:
                frames.append(self._frame(choice, delta, _logprobs(logprobs)))
                logprobs = ()
        if logprobs:
            frames.append(self._frame(choice, b'"content":""', _logprobs(logprobs)))
        return b"".join(frames)

    def end(self, part: AnswerPart, index: int = 0) -> bytes:
        """The last frame of a choice, whose last part this is."""
        choice = self._choices[index]
        begun = b"" if choice.is_begun else self._frame(choice, b'"content":""', b"")  # at least who answers is said
        ended: dict[str, Any] = {
            "index": index,
            "delta": {},
            "finish_reason": _reason(part.reason, has_calls=choice.has_calls),
        }
        ended |= _told(part)
        return begun + frame(self._base | {"choices": [ended]})

    def done(self, usage: Usage | None) -> bytes:
        """The last frames of the stream; `usage` is told iff it is given."""
        return (frame(self._base | {"choices": [], "usage": usage}) if usage is not None else b"") + DONE

    def whole(self, parts: Sequence[AnswerPart], usage: Usage) -> bytes:
        """The whole answer at once, one part per choice."""
        choices = [_whole_choice(index, part) for index, part in enumerate(parts)]
        answer = self._base | {"object": "chat.completion", "choices": choices, "usage": usage}
        return to_json(answer) + b"\n"

    def debug(self, rendered: str, usage: Usage) -> bytes:
        """The answer to `_debug_render_only`."""
        message = {"role": "assistant", "content": ""}
        choice = {"index": 0, "message": message, "finish_reason": None}
        shown = {"_debug_info": {"rendered_template": rendered}}
        return to_json(self._base | {"object": "chat.completion", "choices": [choice], "usage": usage} | shown) + b"\n"

    def _frame(self, choice: _Choice, delta: bytes, logprobs: bytes) -> bytes:
        role = b"" if choice.is_begun else b'"role":"assistant",'
        choice.is_begun = True
        return b"".join((choice.head, role, delta, b'},"finish_reason":null', logprobs, b"}]}\n\n"))


def _runs(events: Iterable[Event]) -> list[list[Event]]:
    """Group adjacent events that one frame can tell."""
    runs: list[list[Event]] = []
    kind = ""
    for event in events:
        match event:
            case Text(_, unparsed):
                found = "unparsed" if unparsed else "text"
            case Thought():
                found = "thought"
            case CallOpened() | CallArguments() | CallClosed():
                found = "call"
            case _:
                continue
        if found != kind:
            runs.append([])
        kind = found
        runs[-1].append(event)
    return runs


def _delta(events: Sequence[Event], choice: _Choice) -> bytes:
    text = "".join(event.text for event in events if isinstance(event, Text | Thought))
    match events[0]:
        case Text(_, unparsed):
            mark = b',"unparsed":true' if unparsed else b""  # ours alone: it looked like a call and is none
            return b'"content":' + escape_html(_encode(text)) + mark
        case Thought():
            return b'"content":"","reasoning":' + escape_html(_encode(text))
        case _:
            calls = _call_deltas(events, choice)
            return b'"content":"","tool_calls":' + to_json(calls) if calls else b""


def _call_deltas(events: Sequence[Event], choice: _Choice) -> list[dict[str, Any]]:
    deltas: dict[int, dict[str, Any]] = {}
    for event in events:
        if isinstance(event, CallOpened):
            function = {"name": event.name, "arguments": ""}
            deltas[event.index] = {"id": event.id, "index": event.index, "type": "function", "function": function}
        elif isinstance(event, CallArguments):
            delta = deltas.setdefault(event.index, {"index": event.index, "function": {"arguments": ""}})
            delta["function"]["arguments"] += event.text
        elif isinstance(event, CallClosed):
            choice.has_calls = True
    return list(deltas.values())


def _logprobs(logprobs: Sequence[Any]) -> bytes:
    return b',"logprobs":' + to_json({"content": logprob_entries(logprobs)}) if logprobs else b""


def _whole_choice(index: int, part: AnswerPart) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": part.text}
    if part.thinking:
        message["reasoning"] = part.thinking
    if part.calls:
        message["tool_calls"] = [_whole_call(position, call) for position, call in enumerate(part.calls)]
    if part.is_unparsed:
        message["unparsed"] = True
    reason = _reason(part.reason, has_calls=bool(part.calls))
    choice: dict[str, Any] = {"index": index, "message": message, "finish_reason": reason}
    if part.logprobs:
        choice["logprobs"] = {"content": logprob_entries(part.logprobs)}
    return choice | _told(part)


def _told(part: AnswerPart) -> dict[str, Any]:
    """Give what was cut or had no effect; ours alone, so only there when something was."""
    end = part.end
    if end is None:
        return {}
    told: dict[str, Any] = {"warnings": end.warnings} if end.warnings else {}
    if end.truncated_messages or end.truncated_tokens:
        told["truncated"] = {"messages": end.truncated_messages, "tokens": end.truncated_tokens}
    return told


def _whole_call(index: int, call: CallClosed) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "index": index, "type": "function", "function": function}


def _reason(reason: str, *, has_calls: bool) -> str:
    return "tool_calls" if has_calls and reason == "stop" else reason
