"""Files from outside are recognised by their first bytes, and nothing else gets to a decoder."""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidRequest
from runners.media_files import Medium, medium_of
from tests.support.pictures import huge_png, png, wav

_JPEG_HEAD = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


def _jpeg(width: int, height: int) -> bytes:
    return _JPEG_HEAD + b"\xff\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width) + bytes(12)


@pytest.mark.parametrize(
    ("content", "medium"),
    [
        (png(8, 9, seed=1), Medium.IMAGE),
        (_jpeg(640, 480), Medium.IMAGE),
        (b"GIF89a" + struct.pack("<HH", 5, 6), Medium.IMAGE),
        (b"BM" + bytes(16) + struct.pack("<ii", 5, -6), Medium.IMAGE),
        (wav(0.1, from_hz=100, to_hz=200), Medium.SOUND),
        (b"ID3\x04\x00", Medium.SOUND),
        (b"\xff\xfb\x90\x00", Medium.SOUND),
        (b"fLaC\x00", Medium.SOUND),
    ],
)
def test_medium_of_known_formats(content: bytes, medium: Medium) -> None:
    """Each format is told by its first bytes."""
    assert medium_of(content) is medium


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no image or sound"),
        (b"hello", "no image or sound"),
        (b"%PDF-1.7", "no image or sound"),
        (b"\x00\x00\x00\x18ftypmp42", "no image or sound"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "convert the image to PNG or JPEG"),
        (png(8, 8, seed=1)[:20], "cut off"),
        (_JPEG_HEAD, "damaged"),
        (_JPEG_HEAD + b"\xff\xc0\x00", "cut off"),
        (huge_png(60_000, 60_000), "60000 x 60000 pixels is too large"),
        (huge_png(0, 5), "0 x 5 pixels"),
        (_jpeg(65_535, 65_535), "too large"),
    ],
)
def test_medium_of_anything_else_is_refused(content: bytes, says: str) -> None:
    """What cannot be read is told with the remedy, and what would unpack to gigabytes is not unpacked."""
    with pytest.raises(InvalidRequest, match=says):
        medium_of(content)


@settings(max_examples=200, deadline=None)
@given(
    head=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF89a", b"RIFF", b"\xff", b"ID3"]),
    rest=st.binary(max_size=80),
)
def test_medium_of_never_raises_but_invalid_request(head: bytes, rest: bytes) -> None:
    """Whatever the bytes are, they are a medium or a clear error."""
    with contextlib.suppress(InvalidRequest):
        assert medium_of(head + rest) in Medium
