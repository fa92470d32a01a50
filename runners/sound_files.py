"""How long a sound is that a client sent, by its header, before a decoder unpacks it.

libmtmd's decoder makes room for as many samples as the header promises, and ends the process when there is none. So
what a header says is checked against the file, and forms of which the length cannot be told are refused.
"""

import struct

from actors.errors import InvalidRequest

MOST_SECONDS = 3600
_MOST_MPEG_BYTES = 8 << 20
"""An MPEG stream has at least 8 kbit a second and tells its length nowhere; unpacked, so much takes half a gigabyte."""
_WAVE_FORMS = frozenset({1, 3, 6, 7, 0xFFFE})
"""PCM, float, A-law, mu-law, and extensible, whose form is one of these: a frame's bytes are known for all of them."""
_MOST_CHUNKS = 256
_FLAC_INFO_AT = 18
_BITS_PER_BYTE = 8


def is_sound(content: bytes) -> bool:
    """Tell whether the first bytes are those of a WAV, FLAC or MP3 file."""
    return content[:4] == b"fLaC" or _is_wave(content) or content[:3] == b"ID3" or _is_mpeg(content)


def check_sound(content: bytes) -> None:
    """Check that a sound is short enough to be unpacked.

    Raises:
        InvalidRequest: it is not, or its header is wrong.
    """
    try:
        seconds = _wave_s(content) if _is_wave(content) else _flac_s(content) if content[:4] == b"fLaC" else 0.0
    except struct.error as error:
        raise InvalidRequest("the sound is cut off: send the whole file") from error
    if seconds > MOST_SECONDS:
        raise InvalidRequest(f"a sound of {seconds:.0f} s is too long: send at most {MOST_SECONDS} s")
    if not seconds:
        _check_mpeg(content)


def _is_wave(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WAVE"


def _is_mpeg(content: bytes) -> bool:
    return len(content) > 1 and content[0] == 0xFF and content[1] & 0xE0 == 0xE0 and content[1] != 0xFF  # noqa: PLR2004  # eleven bits of sync


def _wave_s(content: bytes) -> float:
    """Walk the chunks of a RIFF file up to its samples."""
    at, kind, size, frame_bytes, rate_hz = 12, b"", 0, 0, 0
    for _ in range(_MOST_CHUNKS):
        kind, size = struct.unpack_from("<4sI", content, at)
        at += 8
        if kind == b"data":
            break
        if kind == b"fmt ":
            form, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", content, at)
            frame_bytes = channels * bits // _BITS_PER_BYTE if form in _WAVE_FORMS and not bits % _BITS_PER_BYTE else 0
        at += size + size % 2
    if kind != b"data" or not frame_bytes or not rate_hz:
        raise InvalidRequest("this WAV file is compressed or damaged: convert the sound to PCM")
    if size > len(content) - at:
        raise InvalidRequest("the sound is shorter than its header says: send the whole file")
    return float(max(size / frame_bytes / rate_hz, 1e-9))


def _flac_s(content: bytes) -> float:
    """Read rate and number of samples from STREAMINFO, the first block (RFC 9639, section 8.2)."""
    packed = struct.unpack_from(">Q", content, _FLAC_INFO_AT)[0]
    rate_hz, n_samples = packed >> 44, packed & ((1 << 36) - 1)
    if not rate_hz or not n_samples:
        raise InvalidRequest("this FLAC file does not tell its length: convert the sound to WAV")
    return float(n_samples / rate_hz)


def _check_mpeg(content: bytes) -> None:
    if len(content) > _MOST_MPEG_BYTES:
        raise InvalidRequest(f"an MP3 file of {len(content)} bytes is too long: send at most {_MOST_MPEG_BYTES} bytes")
    if content[:3] == b"ID3":
        size = struct.unpack_from(">I", content.ljust(10, b"\xff"), 6)[0]
        if size & 0x80808080:
            raise InvalidRequest("the MP3 file is damaged: send the whole file")
        size = (size & 0x7F) | (size >> 1 & 0x3F80) | (size >> 2 & 0x1FC000) | (size >> 3 & 0xFE00000)
        content = content[10 + size :]
    if not _is_mpeg(content):  # else another decoder would take what stands behind the tag
        raise InvalidRequest("this MP3 file holds no MPEG audio: convert the sound to WAV")
