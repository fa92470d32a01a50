"""Prompt lookup: guesses are what stood behind the same tokens before, whatever the text."""

from hypothesis import given, settings
from hypothesis import strategies as st

from runners.lookup import PromptLookup

_TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=60)


def _fed(prompt: list[int], answer: list[int]) -> PromptLookup:
    lookup = PromptLookup(prompt)
    for token in answer:
        lookup.feed(token)
    return lookup


@settings(max_examples=200, deadline=None)
@given(prompt=_TOKENS, answer=_TOKENS, limit=st.integers(0, 20))
def test_lookup_guess_continues_an_earlier_place(prompt: list[int], answer: list[int], limit: int) -> None:
    """A guess is at most as long as asked for and is found in the text, going on in a loop at its end."""
    lookup = _fed(prompt, answer)
    guess = lookup.guess(limit)
    text = [*prompt, *answer]
    assert len(guess) <= limit
    whole = text + guess
    assert not guess or any(whole[start : start + len(guess)] == guess for start in range(1, len(text))), (
        "the guess stands nowhere in the text"
    )
    chances = lookup.chances(len(guess))
    assert len(chances) == len(guess)
    assert all(0 < chance < 1 for chance in chances)


def test_lookup_copied_text_is_guessed_to_its_end() -> None:
    """Two tokens of a passage are enough to guess the rest of it."""
    passage = [*range(10, 40)]
    assert _fed([1, *passage, 2], [3, 10, 11]).guess(100)[:28] == passage[2:]


def test_lookup_replaced_token_goes_on_behind_it() -> None:
    """After a token that differs the old text is taken up one later, with less trust."""
    passage = [*range(10, 40)]
    lookup = _fed([1, *passage, 2], [3, *passage[:10], 99])
    assert lookup.guess(3) == passage[11:14]
    assert lookup.chances(1) < _fed([1, *passage, 2], [3, *passage[:10]]).chances(1)


def test_lookup_longest_past_wins() -> None:
    """Of several places with the same pair of tokens the one with the longest common past is taken."""
    lookup = _fed([5, 6, 7, 8, 1, 9, 6, 7, 2, 4, 6, 7, 3], [5, 6, 7])
    assert lookup.guess(2) == [8, 1]


def test_lookup_chances_fall_when_guesses_fail() -> None:
    """Guesses that prove wrong are trusted less, without one being drafted."""
    lookup = PromptLookup([1, 2, 3] * 4)
    lookup.feed(1)
    lookup.feed(2)
    before = lookup.chances(4)
    for token in (9, 1, 2, 8, 1, 2, 7, 1, 2, 6, 1, 2, 5, 1, 2):
        lookup.feed(token)
    assert lookup.chances(4)[0] < before[0]


def test_lookup_chance_of_a_copy_is_high_soon() -> None:
    """Behind twenty copied tokens the next ones are trusted."""
    passage = [*range(10, 60)]
    assert min(_fed([1, *passage, 2], passage[:20]).chances(8)) > 0.8


def test_lookup_long_prompt_is_indexed_bit_by_bit() -> None:
    """A prompt longer than what is indexed at once is found in full after some tokens."""
    prompt = [*range(5000)]
    lookup = _fed(prompt, [90_000 + n for n in range(6)])
    lookup.feed(4000)
    lookup.feed(4001)
    assert lookup.guess(2) == [4002, 4003]


def test_lookup_media_is_never_guessed() -> None:
    """The place of an image ends a guess."""
    assert _fed([1, 2, 3, -1, -1, 4], [1, 2]).guess(5) == [3]
