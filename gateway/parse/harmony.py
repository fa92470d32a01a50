"""The parser of gpt-oss answers: messages with headers, `<|start|>{header}<|message|>{content}<|end|>`.

The answer goes on behind the `<|start|>assistant` of the prompt. A header names a channel (analysis is thinking, final
and commentary are text) or a recipient: then the content is the JSON arguments of a call. An answer that does not even
begin like a header is text. Source of the format: OpenAI's description of harmony.
"""

import re

from gateway.parse.events import Event
from gateway.parse.header_calls import HeaderCall
from gateway.parse.reader import CallReader, first_of, open_end
from gateway.parse.sink import Sink
from gateway.parse.tools import DeclaredTools

_START, _MESSAGE, _CHANNEL, _CONSTRAIN = "<|start|>", "<|message|>", "<|channel|>", "<|constrain|>"
_ENDS = ("<|end|>", "<|call|>", "<|return|>", _START)
_HEADER_ENDS = (_MESSAGE, "<|end|>", "<|return|>")
_HEADER_BEGINNINGS = (_CHANNEL, _CONSTRAIN, _MESSAGE, _START, "to=", "assistant")
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")
_CHANNEL_NAME = re.compile(r"<\|channel\|>\s*(\w+)")
_LONGEST_HEADER = 1024


class HarmonyParser:
    """Parser of one answer; feed it until the answer ends, then `close` it."""

    def __init__(self, tools: DeclaredTools, *, prompt_tail: str = "") -> None:
        """Begin with an answer to a prompt that ended with `prompt_tail`."""
        self._sink = Sink(tools)
        self._held = ""
        self._channel: str | None = None  # of the message whose content comes; None in a header
        self._call: CallReader | None = None
        self._is_junk = False
        _, is_open, header = prompt_tail.rpartition(_START)
        if is_open and _MESSAGE in header:  # the prompt has begun the message
            self._begin(header.partition(_MESSAGE)[0])

    def feed(self, text: str) -> list[Event]:
        """Take a piece of the answer; give what is certain now."""
        self._held += text
        while self._header() if self._channel is None else self._content():
            pass
        return self._sink.take()

    def close(self) -> list[Event]:
        """End the answer; give what was held back."""
        held, self._held = self._held, ""
        if self._channel is not None:
            self._say(held)
            self._end()
        return self._sink.take()

    def _header(self) -> bool:
        stripped = self._held.lstrip()
        if not stripped:
            return False
        if not any(stripped.startswith(each) for each in _HEADER_BEGINNINGS):
            if any(each.startswith(stripped) for each in _HEADER_BEGINNINGS):
                return False
            self._channel = "final"
            return True
        found = first_of(stripped, _HEADER_ENDS)
        header = stripped if found is None else stripped[: found[0]]
        if len(header) > _LONGEST_HEADER:
            self._channel = "final"
            return True
        if found is None:
            return False
        self._held = stripped[found[0] + len(found[1]) :]
        if found[1] == _MESSAGE:
            self._begin(header)
        return True

    def _begin(self, header: str) -> None:
        channel, recipient = _CHANNEL_NAME.search(header), _RECIPIENT.search(header)
        self._channel = channel[1] if channel else "final"
        if recipient:
            name = recipient[1].removeprefix("functions.")
            self._call = HeaderCall(self._sink, f"to={recipient[1]} ", _ENDS, lambda _header: name)

    def _content(self) -> bool:
        found = first_of(self._held, _ENDS)
        if found is None:
            n_certain = len(self._held) - open_end(self._held, _ENDS)
            self._say(self._held[:n_certain])
            self._held = self._held[n_certain:]
            return False
        at, marker = found
        self._say(self._held[:at])
        self._held = self._held[at + len(marker) :]
        self._end()
        return True

    def _say(self, text: str) -> None:
        if self._is_junk:
            self._sink.text(text, unparsed=True)
        elif self._call is not None:
            rest = self._call.feed(text) if text else None
            if rest is not None:  # the arguments are over, and something else follows
                was_text, self._call = self._call.gave_back, None
                self._is_junk = not was_text
                self._sink.text(rest, unparsed=not was_text)
        elif self._channel == "analysis":
            self._sink.thought(text)
        else:
            self._sink.text(text)

    def _end(self) -> None:
        if self._call is not None:
            self._sink.text(self._call.close())
        self._channel = self._call = None
        self._is_junk = False
