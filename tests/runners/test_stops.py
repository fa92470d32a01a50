"""Stop strings against a naive oracle, whatever the chunks."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from runners.stops import StopMatcher

_TEXT = st.text(alphabet="abc", max_size=30)
_STOPS = st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=3).map(tuple)


def _naive(text: str, stops: tuple[str, ...]) -> str:
    """Cut the text as a client sees it that reads one character at a time."""
    for end in range(len(text) + 1):
        hits = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if hits:
            return text[: min(hits)]
    return text


@settings(max_examples=300, deadline=None)
@given(text=_TEXT, stops=_STOPS, cuts=st.lists(st.integers(0, 30), max_size=8))
def test_matcher_any_chunks_agree_on_whether_and_what_is_shown(
    text: str, stops: tuple[str, ...], cuts: list[int]
) -> None:
    """What is shown contains no stop string, is a beginning of the text, and loses nothing without a match."""
    matcher = StopMatcher(stops)
    edges = sorted({0, len(text), *[cut for cut in cuts if cut < len(text)]})
    shown = "".join(matcher.feed(text[a:b]) for a, b in itertools.pairwise(edges))
    shown += matcher.flush()
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)
    assert (matcher.matched is None) == (shown == text and not any(stop in text for stop in stops))


@settings(max_examples=300, deadline=None)
@given(text=_TEXT, stops=_STOPS)
def test_matcher_single_characters_agree_with_the_oracle(text: str, stops: tuple[str, ...]) -> None:
    """Fed one character at a time it stops where a naive search of every prefix stops."""
    matcher = StopMatcher(stops)
    assert "".join(map(matcher.feed, text)) + matcher.flush() == _naive(text, stops)


def test_matcher_holds_back_only_what_can_become_a_stop() -> None:
    """Text that cannot begin a stop string is shown at once."""
    matcher = StopMatcher(("END",))
    assert matcher.feed("xEN") == "x"
    assert matcher.feed("x") == "ENx"
    assert matcher.feed("E") == ""
    assert matcher.feed("ND!") == ""
    assert matcher.matched == "END"
    assert matcher.feed("more") == ""
