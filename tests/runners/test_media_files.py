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


def _flac(*, rate_hz: int, n_samples: int) -> bytes:
    info = bytes(10) + ((rate_hz << 44) | (15 << 36) | n_samples).to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80\x00\x00\x22" + info


def _wav_at(*, rate_hz: int, form: int = 1) -> bytes:
    content = bytearray(wav(1.0, from_hz=100, to_hz=200))
    struct.pack_into("<H", content, 20, form)
    struct.pack_into("<I", content, 24, rate_hz)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "medium"),
    [
        (png(8, 9, seed=1), Medium.IMAGE),
        (_jpeg(640, 480), Medium.IMAGE),
        (b"GIF89a" + struct.pack("<HH", 5, 6), Medium.IMAGE),
        (b"BM" + bytes(16) + struct.pack("<ii", 5, -6), Medium.IMAGE),
        (wav(0.1, from_hz=100, to_hz=200), Medium.SOUND),
        (b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128) + b"\xff\xfb\x90\x00", Medium.SOUND),
        (b"\xff\xfb\x90\x00", Medium.SOUND),
        (_flac(rate_hz=44_100, n_samples=44_100), Medium.SOUND),
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
        (_JPEG_HEAD + b"\xff" * 10_000, "too many segments"),
        (b"RIFF\x00\x00\x00\x00WAVE" + b"JUNK\x00\x00\x00\x00" * 1000, "compressed or damaged"),
        (_flac(rate_hz=8_000, n_samples=2**36 - 1), "too long"),
        (_flac(rate_hz=8_000, n_samples=0), "does not tell its length"),
        (b"fLaC", "cut off"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00" + _flac(rate_hz=1, n_samples=2**35), "holds no MPEG audio"),
        (b"ID3\x04\x00\x00\xff\xff\xff\xff", "damaged"),
        (b"\xff\xfb\x90\x00" + bytes(8 << 20), "at most 8388608 bytes"),
        (wav(0.1, from_hz=1, to_hz=2)[:-2], "shorter than its header"),
        (wav(0.1, from_hz=1, to_hz=2)[:30], "cut off"),
        (_wav_at(rate_hz=1), "too long"),
        (_wav_at(rate_hz=0), "compressed or damaged"),
        (_wav_at(rate_hz=8_000, form=17), "compressed or damaged"),
    ],
)
def test_medium_of_anything_else_is_refused(content: bytes, says: str) -> None:
    """What cannot be read is told with the remedy, and what would unpack to gigabytes is not unpacked."""
    with pytest.raises(InvalidRequest, match=says):
        medium_of(content)


@settings(max_examples=200, deadline=None)
@given(
    head=st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"BM",
            b"GIF89a",
            b"RIFF",
            b"\xff",
            b"ID3",
            b"fLaC",
            b"RIFF\0\0\0\0WAVE",
        ]
    ),
    rest=st.binary(max_size=80),
)
def test_medium_of_never_raises_but_invalid_request(head: bytes, rest: bytes) -> None:
    """Whatever the bytes are, they are a medium or a clear error."""
    with contextlib.suppress(InvalidRequest):
        assert medium_of(head + rest) in Medium
