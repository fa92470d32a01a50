"""Media in prompts: places, positions, markers, and what is remembered."""

import ctypes

import pytest

from actors.errors import InvalidRequest
from actors.messages.job import ChatMessage, RawPrompt
from runners.embedding_cache import EmbeddingCache
from runners.media import MediaSpan, placeholder_ids, position_of, span_at, text_end
from runners.media_reader import marked, numbered

SPANS = (
    MediaSpan(start=3, n_tokens=4, n_positions=2, embeddings=None),
    MediaSpan(start=9, n_tokens=2, n_positions=2, embeddings=None),
)


def test_spans_part_the_prompt() -> None:
    """Text runs up to the next medium; positions behind a medium count what it takes."""
    assert [text_end(SPANS, place, n_tokens=12) for place in (0, 3, 5, 7, 9, 11)] == [3, 3, 5, 9, 9, 12]
    assert [span_at(SPANS, place) is not None for place in (2, 3, 6, 7, 9, 11)] == [
        False,
        True,
        True,
        False,
        True,
        False,
    ]
    assert [position_of(SPANS, place) for place in (0, 3, 7, 9, 11)] == [0, 3, 5, 7, 9]


def test_placeholder_ids_tell_contents_apart() -> None:
    """The same content has the same ids, below 0 and in 32 bits; another, or another part of it, has others."""
    ids = placeholder_ids("a" * 64, 0, 20)
    assert ids == placeholder_ids("a" * 64, 0, 20)
    assert all(-(2**31) <= each < 0 for each in ids)
    assert ids[0] not in {placeholder_ids("b" * 64, 0, 1)[0], placeholder_ids("a" * 64, 1, 1)[0]}


def test_marked_puts_media_where_the_text_says() -> None:
    """`[img]` is replaced in order; media without a place come first."""
    message = ChatMessage(role="user", content="this [img] is", media=(b"1", b"2"))
    assert marked(message, "<M>") == ChatMessage(role="user", content="<M>this <M> is")


def test_numbered_follows_the_order_of_the_text() -> None:
    """A raw prompt names its files by number, in any order and more than once."""
    prompt = RawPrompt(text="[img-1] and [img-0], [img-1]; [img-7]", media=(b"a", b"b"))
    assert numbered(prompt, "<M>") == ("<M> and <M>, <M>; [img-7]", [b"b", b"a", b"b"])
    with pytest.raises(InvalidRequest, match=r"put \[img-1\] into the text"):
        numbered(RawPrompt(text="[img-0]", media=(b"a", b"b")), "<M>")


def test_embedding_cache_is_bounded() -> None:
    """The least recently used go first; what is larger than the bound is not kept."""
    cache = EmbeddingCache(most_bytes=3 * 8)
    arrays = [(ctypes.c_float * 2)() for _ in range(4)]
    for number, array in enumerate(arrays[:3]):
        cache.put(("x", number), array)
    assert cache.get(("x", 0)) is arrays[0]
    cache.put(("x", 3), arrays[3])
    assert [cache.get(("x", number)) is not None for number in range(4)] == [True, False, True, True]
    cache.put(("y", 0), (ctypes.c_float * 7)())
    assert cache.get(("y", 0)) is None
