"""Answers of `/v1/responses`: the response object, and its events in the order that OpenAI's clients rely on.

    created, in_progress; per item output_item.added, its own events, output_item.done; completed, incomplete or failed.

Items never overlap: text behind thinking, or a call behind text, closes the item before it. Fields of events come in
the order of the alphabet, those of the whole object in the order in which clients have recorded them.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.answer import AnswerPart
from gateway.parse.events import CallArguments, CallClosed, CallOpened, Event, Text, Thought
from gateway.wire.json_text import escape_html, to_json
from gateway.wire.responses_requests import ResponsesRequest

_sorted = msgspec.json.Encoder(order="sorted").encode
_ID_BYTES = 12


class ResponseUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of an answer."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def shown(self) -> dict[str, Any]:
        """Give them as the API shows them."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_tokens},
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


class ResponseWriter:
    """Writes the answer to one `/v1/responses` request."""

    def __init__(self, response_id: str, body: ResponsesRequest, *, is_stored: bool) -> None:
        self._id = response_id
        self._body = body
        self._is_stored = is_stored
        self._created_at = int(time.time())
        self._n_events = 0
        self._output: list[dict[str, Any]] = []
        self._kind = ""
        """Of the item that is open; empty for none."""
        self._item: dict[str, Any] = {}
        self._said: list[str] = []

    def start(self) -> bytes:
        """The first events of a stream."""
        begun = self._response("in_progress", None)
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def delta(self, part: AnswerPart) -> bytes:
        """The events of what is new."""
        return b"".join([self._on_event(event) for event in part.events])

    def end(self, reason: str, usage: ResponseUsage) -> bytes:
        """The last events of a stream; `finished` gives the whole object from then on."""
        frames = self._close()
        if not self._output:
            frames += self._open("message") + self._close()
        status = "incomplete" if reason == "length" else "completed"
        return frames + self._event(f"response.{status}", response=self._response(status, usage))

    def failed(self, message: str) -> bytes:
        """The last events of a stream that failed."""
        frames = self._close() + self._event("error", code="server_error", message=message, param=None)
        failed = self._response("failed", None) | {"error": {"code": "server_error", "message": message}}
        return frames + self._event("response.failed", response=failed)

    def finished(self, reason: str, usage: ResponseUsage) -> bytes:
        """The whole object, once the answer has ended."""
        return to_json(self._response("incomplete" if reason == "length" else "completed", usage)) + b"\n"

    def _on_event(self, event: Event) -> bytes:
        match event:
            case Thought(text):
                return self._begin("reasoning") + self._piece(
                    "response.reasoning_summary_text.delta", text, summary_index=0
                )
            case Text(text, unparsed):
                begun = self._begin("message")
                if unparsed:  # ours alone: it looked like a call and could not be read as one
                    self._item["unparsed"] = True
                return begun + self._piece("response.output_text.delta", text, content_index=0, logprobs=[])
            case CallOpened(_, name, call_id):
                return self._close() + self._open("function_call", call_id=call_id, name=name)
            case CallArguments(_, text):
                return self._piece("response.function_call_arguments.delta", text)
            case CallClosed():
                return self._close()
        return b""  # text that turned out to be thinking was told already

    def _begin(self, kind: str) -> bytes:
        return b"" if self._kind == kind else self._close() + self._open(kind)

    def _open(self, kind: str, **fields: Any) -> bytes:
        self._kind, self._said = kind, []
        self._item = {"id": f"{_PREFIXES[kind]}_{secrets.token_hex(_ID_BYTES)}", "type": kind, **fields}
        match kind:
            case "message":
                shown = self._item | {"status": "in_progress", "role": "assistant", "content": []}
                part = self._place() | {"content_index": 0, "part": _text_part("")}
                return self._added(shown) + self._event("response.content_part.added", **part)
            case "reasoning":
                part = self._place() | {"summary_index": 0, "part": {"type": "summary_text", "text": ""}}
                opened = self._added(self._item | {"summary": []})
                return opened + self._event("response.reasoning_summary_part.added", **part)
        return self._added(self._item | {"status": "in_progress", "arguments": ""})

    def _added(self, item: Mapping[str, Any]) -> bytes:
        return self._event("response.output_item.added", output_index=len(self._output), item=item)

    def _piece(self, name: str, text: str, **fields: Any) -> bytes:
        self._said.append(text)
        return self._event(name, delta=text, **self._place(), **fields)

    def _close(self) -> bytes:
        """Close the open item, if there is one."""
        text, kind, place = "".join(self._said), self._kind, self._place()
        self._kind = ""
        match kind:
            case "message":
                part = _text_part(text)
                place |= {"content_index": 0}
                item = self._message(part)
                frames = self._event("response.output_text.done", text=text, logprobs=[], **place)
                frames += self._event("response.content_part.done", part=part, **place)
            case "reasoning":
                part = {"type": "summary_text", "text": text}
                place |= {"summary_index": 0}
                item = self._item | {"summary": [part], "encrypted_content": text}
                frames = self._event("response.reasoning_summary_text.done", text=text, **place)
                frames += self._event("response.reasoning_summary_part.done", part=part, **place)
            case "function_call":
                item = {"id": self._item["id"], "type": kind, "status": "completed"}
                item |= {name: self._item[name] for name in ("call_id", "name")} | {"arguments": text}
                frames = self._event("response.function_call_arguments.done", arguments=text, **place)
            case _:
                return b""
        frames += self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        return frames

    def _message(self, part: dict[str, Any]) -> dict[str, Any]:
        item = {"id": self._item["id"], "type": "message", "status": "completed", "role": "assistant"}
        return item | {"content": [part | ({"unparsed": True} if "unparsed" in self._item else {})]}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item.get("id", ""), "output_index": len(self._output)}

    def _event(self, name: str, **fields: Any) -> bytes:
        payload = {"type": name, "sequence_number": self._n_events, **fields}
        self._n_events += 1
        return b"event: " + name.encode() + b"\ndata: " + escape_html(_sorted(payload)) + b"\n\n"

    def _response(self, status: str, usage: ResponseUsage | None) -> dict[str, Any]:
        body = self._body
        is_over = status != "in_progress"
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": body.model,
            "previous_response_id": body.previous_response_id,
            "instructions": body.instructions,
            "output": self._output if is_over else [],
            "error": None,
            "tools": [_shown_tool(tool) for tool in body.tools or ()],
            "tool_choice": "auto" if body.tool_choice is None else body.tool_choice,
            "truncation": body.truncation or "disabled",
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "text": {"format": (body.text and body.text.format) or {"type": "text"}},
            "top_p": _number(body.top_p),
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_logprobs": body.top_logprobs or 0,
            "temperature": _number(body.temperature),
            "reasoning": _shown_reasoning(body),
            "usage": usage.shown() if usage is not None else None,
            "max_output_tokens": body.max_output_tokens,
            "max_tool_calls": body.max_tool_calls,
            "store": self._is_stored,
            "background": bool(body.background),
            "service_tier": body.service_tier or "default",
            "metadata": body.metadata or {},
            "safety_identifier": body.safety_identifier,
            "prompt_cache_key": body.prompt_cache_key,
        }


_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _number(value: float | None) -> float | int:
    """Give a number as clients know it: 1 by default, whole ones without a fraction."""
    value = 1 if value is None else value
    return int(value) if value == int(value) else value


def _shown_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        return dict(tool)
    return {name: tool.get(name) for name in ("type", "name", "description", "strict", "parameters")}


def _shown_reasoning(body: ResponsesRequest) -> dict[str, Any] | None:
    if body.reasoning is None:
        return None
    shown = {"effort": body.reasoning.effort, "summary": body.reasoning.summary}
    return {name: value for name, value in shown.items() if value is not None}
