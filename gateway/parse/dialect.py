"""How one family of models marks thinking and calls: data, which `AnswerParser` works from.

In one dialect no marker may be the beginning of another, so that a marker is known when its last character is there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.parse.block_calls import BlockCalls, ReadBlock
from gateway.parse.call_style import BARE_CALL, CallStyle
from gateway.parse.header_calls import HeaderCall, NameOf
from gateway.parse.json_calls import JsonCalls
from gateway.parse.reader import CallReader
from gateway.parse.sink import Sink
from gateway.parse.sniffing import SniffedCalls


@dataclass(frozen=True, slots=True)
class Tags:
    """What stands around thinking; `is_anywhere` where it is made of control tokens, which nobody writes by chance."""

    opening: str
    closing: str
    is_anywhere: bool = False


@dataclass(frozen=True, slots=True)
class CallForm:
    """One way to write calls: what announces them, and what reads on."""

    opening: str
    make: Callable[[Sink, str], CallReader]
    closings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The markers of one family."""

    name: str
    thinking: tuple[Tags, ...] = ()
    calls: tuple[CallForm, ...] = ()
    reads_bare_json: bool = False
    """Whether an answer that begins with a bracket may be calls without a marker."""
    dropped: tuple[str, ...] = ()
    """Markers that only separate: they are left out of the text."""
    inner: tuple[str, ...] = ()
    """Markers inside of sections, which the readers look for."""
    tokens: tuple[str, ...] = ()
    """Control tokens that some markers consist of."""
    style: CallStyle = BARE_CALL
    """How a forced call is written."""
    is_harmony: bool = False
    """Whether the answer is made of messages with headers, which have a parser of their own."""

    def visible_tokens(self, *, with_calls: bool) -> tuple[str, ...]:
        """Give the markers that may be control tokens, which the runner must not hide then."""
        thinking = [marker for tags in self.thinking for marker in (tags.opening.strip(), tags.closing.strip())]
        calls = [marker for form in self.calls for marker in (form.opening, *form.closings)] if with_calls else []
        found = (*thinking, *self.dropped, *self.tokens, *calls, *(self.inner if with_calls or self.is_harmony else ()))
        return tuple(dict.fromkeys(marker for marker in found if marker and not marker[0].isalpha()))


def json_form(opening: str, *closings: str) -> CallForm:
    """Make a form whose calls are JSON."""
    return CallForm(opening, lambda sink, text: JsonCalls(sink, text, closings), closings)


def header_form(opening: str, closings: tuple[str, ...], name_of: NameOf) -> CallForm:
    """Make a form whose calls are a name and JSON arguments."""
    return CallForm(opening, lambda sink, text: HeaderCall(sink, text, closings, name_of), closings)


def block_form(opening: str, closings: tuple[str, ...], read_block: ReadBlock) -> CallForm:
    """Make a form whose calls are read as a whole."""
    return CallForm(opening, lambda sink, text: BlockCalls(sink, text, closings, read_block), closings)


def sniffed_form(opening: str, closings: tuple[str, ...], otherwise: CallForm) -> CallForm:
    """Make a form whose calls are JSON, or else in another form of the same markers."""

    def if_json(sink: Sink, text: str) -> CallReader:
        return JsonCalls(sink, text, closings)

    return CallForm(opening, partial(SniffedCalls, if_json=if_json, otherwise=otherwise.make), closings)
