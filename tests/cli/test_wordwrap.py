"""Tests of streamed word wrapping."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cli.columns import text_columns
from gateway.cli.wordwrap import WordWrap


def _wrap(pieces: list[str], width: int) -> str:
    wrap = WordWrap(width)
    return "".join([*(wrap.feed(piece) for piece in pieces), wrap.flush()])


def test_wordwrap_moves_a_word_that_does_not_fit_to_the_next_line() -> None:
    """Lines break between words only."""
    assert _wrap(["the quick br", "own fox"], 12) == "the quick \nbrown fox"


def test_wordwrap_keeps_the_line_breaks_of_the_text() -> None:
    """A line break starts the count anew."""
    assert _wrap(["one\ntwo three"], 9) == "one\ntwo three"


def test_wordwrap_breaks_between_wide_characters() -> None:
    """Text without blanks is not held back."""
    wrap = WordWrap(6)
    assert wrap.feed("日本語日本") == "日本語\n日本"


def test_wordwrap_lets_a_word_wider_than_the_line_go() -> None:
    """The terminal breaks what no line can hold."""
    assert _wrap(["a " + "x" * 33 + " b"], 10).replace("\n", "") == "a " + "x" * 33 + " b"


_PIECES = st.lists(st.text(alphabet="ab é日本\n ", max_size=8), max_size=12)


@settings(max_examples=100)
@given(_PIECES, st.integers(min_value=12, max_value=40))
def test_wordwrap_of_any_pieces_keeps_the_words_and_the_width(pieces: list[str], width: int) -> None:
    """Whatever the pieces, no character is lost and no line of short words is too wide."""
    wrapped = _wrap(pieces, width)
    assert "".join(wrapped.split()) == "".join("".join(pieces).split())
    longest_word = max((text_columns(word) for word in "".join(pieces).split()), default=0)
    if longest_word < width:
        assert all(text_columns(line) <= width for line in wrapped.split("\n"))


@settings(max_examples=50)
@given(_PIECES)
def test_wordwrap_does_not_depend_on_the_pieces(pieces: list[str]) -> None:
    """The output depends on the text alone, not on how it was streamed."""
    assert _wrap(pieces, 20) == _wrap(["".join(pieces)], 20)
