"""Where a grammar begins in an answer, whatever the tokens are that its text comes in."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidGrammar
from actors.messages.job import Grammar, GrammarKind
from runners.constraint import Constraint, Mask, Phase

TAGS = ("<think>", "</think>")
DIGITS = Grammar(kind=GrammarKind.REGEX, text="[0-9]+")
THINKING = Grammar(kind=GrammarKind.REGEX, text="[0-9]+", thinking=TAGS)
LAZY = Grammar(kind=GrammarKind.REGEX, text="[0-9]+", triggers=("<call>", "<run>"))
BOTH = Grammar(kind=GrammarKind.REGEX, text="[0-9]+", thinking=TAGS, triggers=("<call>",))


class DigitMatcher:
    """A grammar of digits that ends with a full stop, simple enough to be right at sight."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.consumed = b""

    @property
    def is_accepting(self) -> bool:
        """Whether it has a digit."""
        return bool(self.consumed)

    @property
    def is_stopped(self) -> bool:
        """Whether it has its full stop."""
        return self.consumed.endswith(b".")

    def admits(self, token: int) -> bool:
        """Digits, then one full stop."""
        return self.admits_text(self._pieces[token])

    def admits_text(self, text: bytes) -> bool:
        """The same for text."""
        return not self.is_stopped and bool(text) and text.rstrip(b".").isdigit()

    def mask(self) -> Mask:
        """All that is admitted."""
        return np.array([self.admits_text(piece) for piece in self._pieces])

    def take(self, token: int) -> bool:
        """Take a token that fits."""
        if not self.admits(token):
            return False
        self.consume(token)
        return True

    def consume(self, token: int) -> None:
        """Take a token."""
        self.consume_text(self._pieces[token])

    def consume_text(self, text: bytes) -> None:
        """Take text."""
        if not self.admits_text(text):
            raise InvalidGrammar("regex", "no digit")
        self.consumed += text


class Walk:
    """A constraint over a vocabulary made of the pieces that a test uses."""

    def __init__(self, grammar: Grammar, *vocabulary: bytes, prompt_tail: str = "") -> None:
        self.pieces = list(vocabulary)
        self.matcher = DigitMatcher(self.pieces)
        self.constraint = Constraint(grammar, self.matcher, self.pieces, prompt_tail=prompt_tail)

    def admits(self, piece: bytes) -> bool:
        """Ask for one piece."""
        return self.constraint.admits(self.pieces.index(piece))

    def say(self, *pieces: bytes) -> None:
        """Take admitted pieces."""
        for piece in pieces:
            assert self.constraint.take(self.pieces.index(piece)), piece

    def allowed(self) -> list[bytes]:
        """Give the pieces of the mask."""
        return [self.pieces[token] for token in np.flatnonzero(self.constraint.mask())]


def test_constraint_without_thinking_holds_from_the_first_token() -> None:
    """Plain formats bind at once, and know when they are whole and when they are over."""
    walk = Walk(DIGITS, b"1", b"x", b".")
    assert not walk.admits(b"x")
    assert walk.allowed() == [b"1"]
    walk.say(b"1")
    assert (walk.constraint.is_satisfied, walk.constraint.is_complete) == (True, False)
    walk.say(b"1", b"1")
    assert walk.matcher.consumed == b"111"


def test_constraint_waits_for_the_end_of_thinking() -> None:
    """Thinking is free, the white space behind it too, the answer is not."""
    walk = Walk(THINKING, b"<think>", b"</think>", b"no digit ", b"\n\n", b"1")
    walk.say(b"<think>", b"no digit ", b"\n\n")
    assert walk.constraint.phase is Phase.THINKING
    walk.say(b"</think>", b"\n\n")
    assert not walk.admits(b"no digit ")
    walk.say(b"1")
    assert (walk.matcher.consumed, walk.constraint.n_free_tokens) == (b"1", 5)


def test_constraint_of_an_answer_that_does_not_think_holds_at_once() -> None:
    """A model that could have thought and did not is bound by its first token."""
    walk = Walk(THINKING, b"<think>", b"no", b"1")
    assert not walk.admits(b"no")
    walk.say(b"1")
    assert walk.constraint.phase is Phase.BOUND


def test_constraint_of_a_prompt_that_opened_thinking_starts_inside() -> None:
    """Templates that end with the opening tag leave the model to close it."""
    walk = Walk(THINKING, b"hm", b"</think>", b"1", prompt_tail="assistant\n<think>\n")
    walk.say(b"hm", b"</think>", b"1")
    assert walk.matcher.consumed == b"1"


def test_constraint_half_written_tag_must_be_finished() -> None:
    """What was told of a tag cannot be taken back, so that only the rest of it may follow."""
    walk = Walk(THINKING, b"<th", b"ink>", b"ink>hm", b"inx", b"1", b"</think>")
    walk.say(b"<th")
    assert not walk.admits(b"1")
    assert walk.allowed() == [b"ink>", b"ink>hm"]
    walk.say(b"ink>hm", b"</think>", b"1")


def test_constraint_text_in_the_tags_last_token_is_the_grammars() -> None:
    """A token may hold the end of a tag and the beginning of the answer; one with a wrong beginning may not come."""
    walk = Walk(THINKING, b"<think>", b"</think", b">12", b">x", b">\n", b"3.")
    walk.say(b"<think>", b"</think")
    assert not walk.admits(b">x")
    assert walk.allowed() == [b"<think>", b"</think", b">\n", b"3."]
    walk.say(b">12")
    assert (walk.matcher.consumed, walk.constraint.n_free_tokens, walk.constraint.n_free_bytes) == (b"12", 2, 1)
    walk.say(b"3.")
    assert walk.constraint.is_complete


def test_constraint_lazy_holds_behind_its_trigger() -> None:
    """Without a trigger the answer may be anything; behind the first one it may not."""
    walk = Walk(LAZY, b"hello ", b"<ru", b"n>", b"n>7", b"n>x", b"1")
    satisfied = []
    walk.say(b"hello ")
    satisfied.append(walk.constraint.is_satisfied)
    walk.say(b"<ru")
    assert not walk.admits(b"n>x")
    walk.say(b"n>")
    assert not walk.admits(b"hello ")
    satisfied.append(walk.constraint.is_satisfied)
    walk.say(b"1")
    satisfied.append(walk.constraint.is_satisfied)
    assert satisfied == [True, False, True]


def test_constraint_trigger_inside_thinking_does_not_count() -> None:
    """A call that is only thought of binds nothing."""
    walk = Walk(BOTH, b"<think>", b"<call>", b"</think>", b"text", b"1")
    walk.say(b"<think>", b"<call>", b"text", b"</think>", b"text", b"<call>", b"1")
    assert walk.matcher.consumed == b"1"


def test_constraint_wrong_text_raises_the_error() -> None:
    """A token that was not asked about, as in a resumed answer, is refused if it does not fit."""
    walk = Walk(DIGITS, b"x")
    with pytest.raises(InvalidGrammar):
        walk.constraint.accept(0)


@settings(max_examples=200, deadline=None)
@given(cuts=st.sets(st.integers(1, 40)), thought=st.text(alphabet="ab </think", max_size=12))
def test_constraint_does_not_depend_on_where_tokens_are_cut(cuts: set[int], thought: str) -> None:
    """The grammar sees the same text however the answer comes."""
    text = f"<think>{thought.replace('</think>', '')}</think>\n123.".encode()
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
    walk = Walk(THINKING, *pieces)
    for token, piece in enumerate(pieces):
        if not walk.constraint.take(token):
            return  # a cut inside white space and text, which the grammar's own tokens never have
        assert walk.pieces[token] == piece
    assert walk.matcher.consumed == b"123."
