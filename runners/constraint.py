"""Where in an answer its grammar holds: the walk of one job from its free beginning to the part that is bound.

    OPENING ──opening tag──▶ THINKING ──closing tag──▶ AFTER ──text──▶ BOUND
       └────────────────────────text────────────────────────────────────▲
    (OPENING/THINKING as above) ──▶ WAITING ──trigger──▶ BOUND

An answer that may think starts in OPENING, or in THINKING where the prompt has opened the block already. One with
triggers passes through WAITING. In BOUND every token is the grammar's; white space behind a thinking block is free,
`_MOST_BLANKS` tokens of it, because models put it there and clients never see it.

Text is looked at as bytes, control tokens as they are written, so that tags of either kind are found.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from actors.errors import InvalidGrammar
from actors.messages.job import Grammar

_MOST_BLANKS = 4

Mask = npt.NDArray[np.bool_]


class Matcher(Protocol):
    """A grammar's state behind the tokens consumed so far."""

    @property
    def is_accepting(self) -> bool:
        """Whether what was consumed is a whole."""

    @property
    def is_stopped(self) -> bool:
        """Whether nothing but the end can follow."""

    def admits(self, token: int) -> bool:
        """Tell whether a token may follow; an end-of-generation token may iff the text is a whole."""

    def admits_text(self, text: bytes) -> bool:
        """Tell whether text may follow."""

    def mask(self) -> Mask:
        """Give every token that may follow, by id; at least one.

        Raises:
            InvalidGrammar: the grammar got too complex to say.
        """

    def take(self, token: int) -> bool:
        """Consume a token if it may follow; False, and nothing changed, if it may not."""

    def consume(self, token: int) -> None:
        """Take a token that `admits` it.

        Raises:
            InvalidGrammar: it does not.
        """

    def consume_text(self, text: bytes) -> None:
        """Take text that came in one token with what was before the grammar.

        Raises:
            InvalidGrammar: it does not fit.
        """


class Phase(enum.Enum):
    """How far an answer is."""

    OPENING = enum.auto()
    THINKING = enum.auto()
    AFTER = enum.auto()
    WAITING = enum.auto()
    BOUND = enum.auto()


class Constraint:
    """The grammar of one job and whether it holds yet; owned by the decode thread."""

    def __init__(self, grammar: Grammar, matcher: Matcher, pieces: Sequence[bytes], *, prompt_tail: str = "") -> None:
        """Start at the beginning of an answer.

        Args:
            grammar: when it shall hold.
            matcher: the compiled grammar, fresh and this job's own.
            pieces: the bytes of every token, by id.
            prompt_tail: the end of the prompt, which may have opened a thinking block.
        """
        self._kind = grammar.kind.value
        self._matcher = matcher
        self._pieces = pieces
        self._open, self._close = (tag.encode() for tag in grammar.thinking or ("", ""))
        self._triggers = tuple(trigger.encode() for trigger in grammar.triggers if trigger)
        self._seen = b""  # the part of the current phase's text that may still become a tag or trigger
        self._n_blanks = 0
        self._n_tokens = 0
        self.n_free_tokens = 0
        """Tokens of the answer before the one in which the grammar begins."""
        self.n_free_bytes = 0
        """Bytes of that token that belong to a tag or trigger before it."""
        self.kind = grammar.kind
        self.phase = self._first_phase(prompt_tail)

    @property
    def is_complete(self) -> bool:
        """True iff nothing but the end may follow."""
        return self.phase is Phase.BOUND and self._matcher.is_stopped

    @property
    def is_satisfied(self) -> bool:
        """True iff the answer, ending here, is what it shall be; one that never met a trigger is, too."""
        if self.phase is Phase.BOUND:
            return self._matcher.is_accepting
        return bool(self._triggers) and self.phase is Phase.WAITING

    def admits(self, token: int) -> bool:
        """Tell whether a token may come next."""
        match self.phase:
            case Phase.THINKING | Phase.WAITING:
                return self._fits_behind_mark(self._pieces[token])
            case Phase.AFTER if self._is_blank(token):
                return True
            case Phase.OPENING:
                if self._continues_tag(self._pieces[token]):
                    return True
                if self._seen:
                    return False  # a tag half written must be finished: it was told already
                return bool(self._triggers) or self._matcher.admits(token)
        return self._matcher.admits(token)

    def take(self, token: int) -> bool:
        """Go on behind a token if it may come next; False, and nothing changed, if it may not.

        Raises:
            InvalidGrammar: the text in it that follows a tag or trigger does not fit the grammar.
        """
        if self.phase is Phase.BOUND:  # in one call: this is asked for every token of an answer
            is_taken = self._matcher.take(token)
            self._n_tokens += is_taken
            return is_taken
        if not self.admits(token):
            return False
        self.accept(token)
        return True

    def mask(self) -> Mask:
        """Give the tokens to choose from when one was not admitted.

        Raises:
            InvalidGrammar: the grammar got too complex to say.
        """
        if self.phase in {Phase.THINKING, Phase.WAITING}:
            return self._mask_of(lambda piece: not self._behind_mark(piece))
        if self.phase is Phase.OPENING and self._seen:
            return self._mask_of(self._continues_tag)
        return self._matcher.mask()

    def accept(self, token: int) -> None:
        """Go on behind a token that is admitted.

        Raises:
            InvalidGrammar: the text in it that follows a tag or trigger does not fit the grammar.
        """
        piece = self._pieces[token]
        if self.phase is not Phase.BOUND:
            self.n_free_tokens = self._n_tokens
        self._n_tokens += 1
        match self.phase:
            case Phase.OPENING if self._continues_tag(piece):
                self._seen += piece
                text = self._seen.lstrip()
                if text.startswith(self._open):
                    self._enter(Phase.THINKING)
                    self._think(text[len(self._open) :])
            case Phase.OPENING if self._triggers:
                self._enter(Phase.WAITING)
                self._wait(piece)
            case Phase.THINKING:
                self._think(piece)
            case Phase.WAITING:
                self._wait(piece)
            case Phase.AFTER if self._is_blank(token):
                self._n_blanks += 1
            case _:
                self._enter(Phase.BOUND)
                self._matcher.consume(token)

    def _mask_of(self, admits: Callable[[bytes], bool]) -> Mask:
        # A walk over the vocabulary, some 10 ms: for the rare token that has the end of a tag and wrong text behind it.
        return np.fromiter(map(admits, self._pieces), dtype=np.bool_, count=len(self._pieces))

    def _fits_behind_mark(self, piece: bytes) -> bool:
        behind = self._behind_mark(piece)
        return not behind or self._matcher.admits_text(behind)

    def _behind_mark(self, piece: bytes) -> bytes:
        """Give what a token has for the grammar behind the tag or trigger that it completes; nothing if it does not."""
        if self.phase is Phase.WAITING:
            return (self._found_trigger(self._seen + piece) or (b"", b""))[1]
        if self._triggers:
            return b""  # what follows the tag waits for a trigger first
        return (self._seen + piece).partition(self._close)[2].lstrip()

    def _found_trigger(self, text: bytes) -> tuple[bytes, bytes] | None:
        """Find the first trigger; give what is before and behind it."""
        found = [(at, trigger) for trigger in self._triggers if (at := text.find(trigger)) >= 0]
        if not found:
            return None
        at, trigger = min(found)
        return text[:at], text[at + len(trigger) :]

    def _first_phase(self, prompt_tail: str) -> Phase:
        if not self._open:
            return Phase.WAITING if self._triggers else Phase.BOUND
        return Phase.THINKING if prompt_tail.encode().rstrip().endswith(self._open) else Phase.OPENING

    def _enter(self, phase: Phase) -> None:
        self.phase, self._seen = phase, b""

    def _is_blank(self, token: int) -> bool:
        piece = self._pieces[token]
        return bool(piece) and piece.isspace() and self._n_blanks < _MOST_BLANKS

    def _continues_tag(self, piece: bytes) -> bool:
        text = (self._seen + piece).lstrip()
        return bool(text) and bool(piece) and (text.startswith(self._open) or self._open.startswith(text))

    def _think(self, piece: bytes) -> None:
        before, tag, after = (self._seen + piece).partition(self._close)
        if not tag:
            self._seen = before[-len(self._close) :]
        elif self._triggers:
            self._enter(Phase.WAITING)
            self._wait(after)
        else:
            self._enter(Phase.AFTER)
            self._bind(after.lstrip(), token_bytes=len(piece))

    def _wait(self, piece: bytes) -> None:
        self._seen += piece
        found = self._found_trigger(self._seen)
        if found is None:
            self._seen = self._seen[-max(map(len, self._triggers)) :]
            return
        self._enter(Phase.BOUND)
        self._bind(found[1], token_bytes=len(piece))

    def _bind(self, text: bytes, *, token_bytes: int) -> None:
        """Let the grammar begin with text that came in one token with a tag or trigger."""
        if text:
            self._enter(Phase.BOUND)
            self.n_free_bytes = token_bytes - len(text)
            self._matcher.consume_text(text)

    def describe_failure(self) -> InvalidGrammar:
        """Make the error for an answer that has no way on."""
        return InvalidGrammar(self._kind, "no token of this model can continue the answer")
