"""The parser of one answer: splits it into thinking, calls and text, piece by piece.

    START ──opening tag──▶ OPENED ──▶ THINKING ──closing tag──▶ AFTER ──first text──▶ CONTENT ◀─▶ CALLS
      └──────anything else───────────────────────────────────────────────────────────▲

Text is held back only while it can still become a marker, or is white space that a marker would swallow. What comes
out, adjacent pieces joined, does not depend on how the answer was cut. Nothing raises: what cannot be read is text.

Thinking is found without its opening tag, too: when the prompt ended with it, or when only the closing tag comes, at
the beginning of a line; then all text before it is said to have been thinking. A marker of calls at the beginning of a
line ends thinking that was left open.
"""

import enum
import re

from gateway.parse.dialect import CallForm, Dialect, Tags
from gateway.parse.events import Event
from gateway.parse.json_calls import JsonCalls
from gateway.parse.reader import CallReader, first_of, open_end
from gateway.parse.sink import Sink
from gateway.parse.tools import DeclaredTools


class _State(enum.Enum):
    START = enum.auto()
    OPENED = enum.auto()
    THINKING = enum.auto()
    AFTER = enum.auto()
    CONTENT = enum.auto()
    CALLS = enum.auto()


class AnswerParser:
    """Parser of one answer in one dialect; feed it until the answer ends, then `close` it."""

    def __init__(self, dialect: Dialect, tools: DeclaredTools, *, prompt_tail: str = "") -> None:
        """Begin with an answer to a prompt that ended with `prompt_tail`."""
        self._sink = Sink(tools)
        self._thinking = dialect.thinking
        self._dropped = dialect.dropped
        self._forms = {form.opening: form for form in dialect.calls} if tools else {}
        self._state = _State.START
        self._reads_bare_json = dialect.reads_bare_json and bool(tools)
        self._held = ""
        self._tags: Tags | None = None
        self._has_thought = self._may_repeat = False
        self._says_first = True  # nothing was said in the present state yet
        self._line_begins = True
        self._reader: CallReader | None = None
        self._markers = self._content_markers()
        self._may_begin = _any_of({marker[0] for marker in self._markers})
        tail = prompt_tail.rstrip()
        for tags in self._thinking:
            if tail.endswith(tags.opening.rstrip()):
                self._open(tags)
                self._may_repeat = True

    def feed(self, text: str) -> list[Event]:
        """Take a piece of the answer; give what is certain now."""
        if self._state is _State.CONTENT and not self._held and not self._forms and not self._may_begin.search(text):
            self._say(text)
            return self._sink.take()
        self._held += text
        while self._advance():
            pass
        return self._sink.take()

    def close(self) -> list[Event]:
        """End the answer; give what was held back."""
        held, self._held = self._held, ""
        if self._reader is not None:
            self._sink.text(self._reader.close())
        elif self._state in {_State.OPENED, _State.THINKING}:
            self._sink.thought(held.rstrip())
        elif self._state in {_State.START, _State.CONTENT}:
            self._sink.text(held)
        self._state, self._reader = _State.CONTENT, None
        return self._sink.take()

    def _advance(self) -> bool:
        """Do one thing with what is held; False when it needs more text."""
        match self._state:
            case _State.START:
                return self._start()
            case _State.OPENED:
                return self._opened()
            case _State.THINKING:
                return self._think()
            case _State.AFTER:
                return self._after()
            case _State.CONTENT:
                return self._content()
            case _State.CALLS:
                return self._call()

    def _start(self) -> bool:
        stripped = self._held.lstrip()
        if not stripped:
            return False
        for tags in self._thinking:
            if stripped.startswith(tags.opening):
                self._held = stripped[len(tags.opening) :]
                self._open(tags)
                return True
        if any(tags.opening.startswith(stripped) for tags in self._thinking):
            return False
        self._begin_content(blanks=self._held[: len(self._held) - len(stripped)])
        return True

    def _open(self, tags: Tags) -> None:
        self._tags, self._state = tags, _State.OPENED
        self._has_thought = self._says_first = True

    def _opened(self) -> bool:
        assert self._tags is not None  # noqa: S101  # set with the state
        self._held = self._held.lstrip()
        opening = self._tags.opening
        if self._may_repeat and self._held.startswith(opening):  # some models say again what the prompt opened
            self._held, self._may_repeat = self._held[len(opening) :], False
            return True
        if not self._held or (self._may_repeat and opening.startswith(self._held)):
            return False
        self._state = _State.THINKING
        return True

    def _think(self) -> bool:
        assert self._tags is not None  # noqa: S101  # set with the state
        markers = (self._tags.closing, *self._forms)
        start = 0
        while (found := first_of(self._held, markers, start)) is not None:
            at, marker = found
            before = self._held[:at]
            if marker == self._tags.closing:
                self._sink.thought(before.rstrip())
                self._held = self._held[at + len(marker) :]
                self._state, self._says_first = _State.AFTER, True
                return True
            if before.rstrip(" \t").endswith("\n") or (self._says_first and not before.strip()):
                self._sink.thought(before.rstrip())
                self._held = self._held[at:]
                self._state, self._reads_bare_json = _State.CONTENT, False
                return True
            start = at + len(marker)
        certain = self._held[: len(self._held) - open_end(self._held, markers)].rstrip()
        if certain:
            self._sink.thought(certain)
            self._says_first = False
        self._held = self._held[len(certain) :]
        return False

    def _after(self) -> bool:
        self._held = self._held.lstrip()
        if not self._held:
            return False
        self._begin_content(blanks="")
        return True

    def _begin_content(self, *, blanks: str) -> None:
        """Leave the beginning of an answer, or of what follows thinking; `blanks` stand before its first word."""
        word = self._held[len(blanks) :]
        if self._reads_bare_json and word[0] in "{[":
            self._reader = JsonCalls(self._sink, blanks, is_tentative=True)
            self._held, self._state = word, _State.CALLS
        else:
            self._state = _State.CONTENT
        self._reads_bare_json = False

    def _content(self) -> bool:
        found = first_of(self._held, self._markers)
        if found is None:
            self._say_certain()
            return False
        at, marker = found
        before, behind = self._held[:at], self._held[at + len(marker) :]
        form = self._forms.get(marker)
        if form is not None:
            self._say(before.rstrip())
            self._begin_calls(form, behind)
            return True
        tags = next((each for each in self._thinking if marker == each.opening), None)
        self._held = behind
        if marker in self._dropped:
            self._say(before)
        elif tags is not None:
            self._say(before)
            self._open(tags)
        else:
            self._end_unopened(before, marker)
        return True

    def _end_unopened(self, before: str, marker: str) -> None:
        """Meet a closing tag of thinking that was never opened."""
        self._say(before)
        if self._has_thought or not self._line_begins:
            self._say(marker)
            return
        self._has_thought = True
        self._sink.thought_ended()
        self._state = _State.AFTER

    def _begin_calls(self, form: CallForm, behind: str) -> None:
        self._reader = form.make(self._sink, form.opening)
        self._held, self._state = behind, _State.CALLS

    def _call(self) -> bool:
        assert self._reader is not None  # noqa: S101  # set with the state
        held, self._held = self._held, ""
        rest = self._reader.feed(held) if held else None
        if rest is None:
            return False
        self._state = _State.CONTENT if self._reader.gave_back else _State.AFTER
        self._reader, self._held = None, rest
        return bool(rest)

    def _say_certain(self) -> None:
        n_certain = len(self._held) - open_end(self._held, self._markers)
        if self._forms:  # a marker of calls swallows the white space before it
            n_certain = len(self._held[:n_certain].rstrip())
        self._say(self._held[:n_certain])
        self._held = self._held[n_certain:]

    def _say(self, text: str) -> None:
        if text:
            self._sink.text(text)
            stripped = text.rstrip(" \t")
            self._line_begins = stripped.endswith("\n") if stripped else self._line_begins

    def _content_markers(self) -> tuple[str, ...]:
        thinking = [tags.opening for tags in self._thinking if tags.is_anywhere]
        closing = [tags.closing for tags in self._thinking if tags.closing not in self._dropped]
        return tuple(dict.fromkeys((*self._forms, *self._dropped, *thinking, *closing)))


def _any_of(chars: set[str]) -> re.Pattern[str]:
    return re.compile("[" + re.escape("".join(sorted(chars))) + "]" if chars else r"(?!)")
