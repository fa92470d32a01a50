"""Splitting `<think>…</think>` off an answer."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.parse.thinking import ThinkingSplitter


def _split(pieces: list[str]) -> tuple[str, str]:
    splitter = ThinkingSplitter()
    parts = [splitter.feed(piece) for piece in pieces] + [splitter.close()]
    return "".join(thinking for thinking, _ in parts), "".join(content for _, content in parts)


@pytest.mark.parametrize(
    ("answer", "thinking", "content"),
    [
        ("Hello", "", "Hello"),
        ("<think>\nHm.\n</think>\n\nHello", "Hm.", "Hello"),
        ("  \n<think>Hm.</think>Hello", "Hm.", "Hello"),
        ("<think>\n\n</think>\n\nHello", "", "Hello"),
        ("<think>never ends\n", "never ends", ""),
        ("<think>a < b </thin k></think> c", "a < b </thin k>", "c"),
        ("  leading space stays", "", "  leading space stays"),
        ("<thin", "", "<thin"),
        ("<thinking>no tag", "", "<thinking>no tag"),
        ("Later <think>is text</think>", "", "Later <think>is text</think>"),
        ("<think>a</think>b</think>c", "a", "b</think>c"),
        ("", "", ""),
        ("<think>", "", ""),
        ("<think>half </thi", "half </thi", ""),
    ],
)
def test_split_of_whole_answers(answer: str, thinking: str, content: str) -> None:
    """Thinking and content come apart, the white space around the tags is swallowed."""
    assert _split([answer]) == (thinking, content)


_FRAGMENTS = st.sampled_from(["<think>", "</think>", "<", "</", "think>", " ", "\n", "a", "b c", "<thi", "nk>"])


@settings(max_examples=200, deadline=None)
@given(fragments=st.lists(_FRAGMENTS, max_size=12), cuts=st.sets(st.integers(1, 60)))
def test_split_does_not_depend_on_the_cuts(fragments: list[str], cuts: set[int]) -> None:
    """However an answer is cut, its parts join to the same thinking and content."""
    answer = "".join(fragments)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
    pieces = [answer[start:end] for start, end in itertools.pairwise(bounds)]
    assert _split(pieces) == _split([answer]) == _split(list(answer))


def test_feed_holds_back_no_more_than_a_possible_tag() -> None:
    """Thinking comes out as soon as it cannot become the closing tag any more."""
    splitter = ThinkingSplitter()
    assert splitter.feed("<think>abc") == ("abc", "")
    assert splitter.feed(" </thi") == ("", "")
    assert splitter.feed("s is fine") == (" </this is fine", "")


def test_feed_after_thinking_passes_everything_through() -> None:
    """Content is never held back."""
    splitter = ThinkingSplitter()
    splitter.feed("<think>x</think>y")
    assert splitter.feed(" <think> ") == ("", " <think> ")
