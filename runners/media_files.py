"""What a client sent as an image or a sound, looked at before any decoder sees it: kind, and size when unpacked.

Only formats that the decoders in libmtmd know are let through, by their first bytes: it would hand anything else to an
external program. A picture's size stands in its header; one that would unpack to more than `_MOST_PIXELS` is refused,
however small its file is.
"""

import enum
import struct

from actors.errors import InvalidRequest
from runners.sound_files import check_sound, is_sound

_MOST_PIXELS = 50_000_000
"""More than any camera's picture; unpacked it takes 150 MB."""
MOST_MEDIA = 64
"""Images and sounds in one request."""

_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_FORMATS = "send PNG, JPEG, GIF or BMP, or for sounds WAV, MP3 or FLAC"
_JPEG_FILL = 0xFF
_MOST_SEGMENTS = 4096


class Medium(enum.Enum):
    """What a model needs a projector for."""

    IMAGE = "images"
    SOUND = "audio"


def medium_of(content: bytes) -> Medium:
    """Tell what a file is.

    Raises:
        InvalidRequest: it is neither a known image nor a known sound, it is cut off, or too large when unpacked.
    """
    if is_sound(content):
        check_sound(content)
        return Medium.SOUND
    width, height = _size(content)
    if not 0 < width * height <= _MOST_PIXELS:
        raise InvalidRequest(f"an image of {width} x {height} pixels is too large: send at most {_MOST_PIXELS} pixels")
    return Medium.IMAGE


def _size(content: bytes) -> tuple[int, int]:
    try:
        if content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR":
            return struct.unpack_from(">II", content, 16)
        if content[:6] in (b"GIF87a", b"GIF89a"):
            return struct.unpack_from("<HH", content, 6)
        if content[:2] == b"BM":
            width, height = struct.unpack_from("<ii", content, 18)
            return abs(width), abs(height)  # a negative height means rows from the top
        if content[:3] == b"\xff\xd8\xff":
            return _jpeg_size(content)
    except struct.error as error:
        raise InvalidRequest("the image is cut off: send the whole file") from error
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        raise InvalidRequest("WebP images cannot be read: convert the image to PNG or JPEG")
    raise InvalidRequest(f"this is no image or sound in a format that can be read: {_FORMATS}")


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Walk the segments up to the frame header (ITU T.81, B.2.2)."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if content[at : at + 1] != b"\xff":
            raise InvalidRequest("the JPEG image is damaged: send the whole file")
        marker = struct.unpack_from("B", content, at + 1)[0]
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        if marker == _JPEG_FILL:
            at += 1
        elif marker in _JPEG_ALONE:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", content, at + 2)[0]
    raise InvalidRequest("the JPEG image has too many segments: save it again")
