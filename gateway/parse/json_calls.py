"""Calls written as JSON objects, alone, in a row or in an array: `{"name": …, "arguments": {…}}`.

The members' names vary with the family; the first of each that is there counts. Arguments are passed on while they
arrive when the name came before them.

A tentative reader has no marker before it: it looks at an answer that begins with a bracket, holds back all text, and
gives it back as soon as it cannot be a call of a declared tool.
"""

from typing import Any

import msgspec

from gateway.parse.object_scan import NotJsonError, ObjectScan
from gateway.parse.reader import NotACallError, ReaderBase
from gateway.parse.sink import Sink

NAMES = ("name", "tool_name", "function", "function_name")
ARGUMENTS = ("arguments", "parameters", "args", "input")
_KEYS = frozenset({*NAMES, *ARGUMENTS, "type", "id", "tool_call_id", "index"})
_PSEUDO_TOOLS = frozenset({"directly_answer", "directly-answer"})
"""Command-R's way to say that it calls nothing."""
_BETWEEN = " \t\r\n,;"


class JsonCalls(ReaderBase):
    """Reads calls in JSON up to the first of `closings`, or as far as there is JSON."""

    def __init__(self, sink: Sink, opening: str, closings: tuple[str, ...] = (), *, is_tentative: bool = False) -> None:
        super().__init__(sink, opening, closings)
        self._is_tentative = is_tentative
        self._scan: ObjectScan | None = None
        self._index: int | None = None  # of the call whose arguments are being passed on
        self._n_passed = 0
        self._in_array = False
        self._n_objects = 0
        self._n_read = 0  # values outside of arrays
        self._between = ""
        self._is_over = False

    def _read(self, text: str) -> str | None:
        position = 0
        while position < len(text):
            if self._scan is not None:
                position = self._read_object(self._scan, text, position)
            elif self._in_array:
                position = self._next_item(text, position)
            else:
                self._between += text[position:]
                rest = self._next_value()
                if rest is None or self._is_over:
                    return rest
                text, position = rest, 0
        return None

    def _next_item(self, text: str, position: int) -> int:
        char = text[position]
        if char == "{":
            self._begin()
            return position
        if char == "]":
            if not self._n_objects:
                raise NotACallError
            self._in_array = False
            self._n_read += 1
            self._settle(text[position + 1 :])
        elif char not in _BETWEEN:
            raise NotACallError
        return position + 1

    def _next_value(self) -> str | None:
        """Look at what stands between values; None while that is not clear, else the text to go on with."""
        between = self._between.lstrip(_BETWEEN if self._n_read else None)
        for closing in self._closings:
            if self._n_read and between.startswith(closing):
                self._is_over = True
                return between[len(closing) :]
        if not between or (self._n_read and any(closing.startswith(between) for closing in self._closings)):
            return None
        self._between = ""
        if between[0] == "{":
            self._begin()
        elif between[0] == "[":
            self._in_array = True
            between = between[1:]
        elif self._n_read:
            self._is_over = True
        else:
            raise NotACallError
        return between

    def _begin(self) -> None:
        self._scan = ObjectScan(captures=ARGUMENTS)
        self._index, self._n_passed = None, 0

    def _read_object(self, scan: ObjectScan, text: str, position: int) -> int:
        try:
            position = scan.feed(text, position)
        except NotJsonError as error:
            self._pass_on(scan)  # as it would have been, had the text come in smaller pieces
            raise NotACallError from error
        if scan.is_complete:
            self._end_object(scan, text[position:])
        else:
            self._pass_on(scan)
        return position

    def _pass_on(self, scan: ObjectScan) -> None:
        name = _name(scan.strings)
        if name is not None and name not in self._sink.tools and name not in _PSEUDO_TOOLS:
            raise NotACallError
        self._check_keys(scan)
        if scan.captured is None or name is None or name in _PSEUDO_TOOLS:
            return
        if self._index is None:
            self._index = self._sink.open(name)
        if self._n_passed < len(scan.captured):
            self._sink.arguments(self._index, "".join(scan.captured[self._n_passed :]))
            self._n_passed = len(scan.captured)

    def _check_keys(self, scan: ObjectScan) -> None:
        """Let go of an object without a marker as soon as a key comes before the name that no call has."""
        for key in scan.keys if self._is_tentative else ():
            if key in NAMES and key in scan.strings:
                return
            if key not in _KEYS and key not in self._sink.tools:
                raise NotACallError

    def _end_object(self, scan: ObjectScan, rest: str) -> None:
        self._check_keys(scan)
        name, arguments = _call_in(scan, self._sink)
        if name not in _PSEUDO_TOOLS:
            if name not in self._sink.tools:
                raise NotACallError
            if self._index is None:
                self._index = self._sink.open(name)
                self._sink.arguments(self._index, arguments)
            else:
                self._sink.arguments(self._index, "".join((scan.captured or [])[self._n_passed :]))
            self._sink.close(self._index, name, arguments)
        self._scan = None
        self._settle(rest)
        self._is_tentative = False
        self._n_objects += 1
        if not self._in_array:
            self._n_read += 1

    def _finish(self) -> None:
        if self._scan is not None or not self._n_objects:
            raise NotACallError

    def _give_up(self) -> str | None:
        if self._is_tentative:
            self.gave_back = True
            return self._opening + "".join(self._raw)
        return super()._give_up()

    def close(self) -> str:
        """End the answer; give text that belongs to no call after all."""
        if not self._is_tentative:
            return super().close()
        return self._opening + "".join(self._raw)


def _name(members: dict[str, str]) -> str | None:
    """Give the first name among the members, so that it does not change when more of them arrive."""
    return next((value for key, value in members.items() if key in NAMES), None)


def _call_in(scan: ObjectScan, sink: Sink) -> tuple[str, str]:
    """Give name and arguments, as JSON text, of a complete object."""
    name = _name(scan.strings)
    if name is not None and scan.captured is not None:
        return name, "".join(scan.captured)
    members = msgspec.json.decode(scan.text, type=dict[str, msgspec.Raw])
    inner = members.get("function")
    if name is None and inner is not None:  # {"type": "function", "function": {"name": …}}
        members |= _object(inner)
        name = _text(members.get("name"))
    if name is None:
        name = next((key for key in members if key in sink.tools), None)  # {"get_weather": {…}}
        if name is None:
            raise NotACallError
        return name, bytes(members[name]).decode() if _object(members[name]) is not None else "{}"
    raw = next((members[key] for key in ARGUMENTS if key in members), None)
    return name, _arguments(raw)


def _arguments(raw: msgspec.Raw | None) -> str:
    """Give arguments as the JSON text of an object: given so, or as JSON in a string, or not at all."""
    if raw is None or bytes(raw) == b"null":
        return "{}"
    text = _text(raw)
    if text is not None:
        if not text.strip():
            return "{}"
        scan = ObjectScan()
        try:
            end = scan.feed(text)
        except NotJsonError as error:
            raise NotACallError from error
        if not scan.is_complete or text[end:].strip():
            raise NotACallError
        return scan.text
    _object(raw)
    return bytes(raw).decode()


def _object(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotACallError from error


def _text(raw: Any) -> str | None:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None
