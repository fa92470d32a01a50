"""Incremental UTF-8: characters appear whole, in order, whatever the pieces."""

from hypothesis import given, settings
from hypothesis import strategies as st

from runners.detokenize import Utf8Stream


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=40), cut=st.integers(0, 40))
def test_stream_any_cut_equals_the_whole_decoding(raw: bytes, cut: int) -> None:
    """Two pieces give the same text as one, with invalid bytes replaced."""
    stream = Utf8Stream()
    text = stream.feed(raw[:cut]) + stream.feed(raw[cut:]) + stream.flush()
    assert text == raw.decode("utf-8", "replace")


def test_stream_holds_an_incomplete_character_back() -> None:
    """The bytes of an emoji show nothing until the last one."""
    stream = Utf8Stream()
    pieces = [bytes([byte]) for byte in "🦙".encode()]
    assert [stream.feed(piece) for piece in pieces] == ["", "", "", "🦙"]
