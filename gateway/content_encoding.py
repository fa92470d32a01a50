"""Compressed request bodies (`Content-Encoding`), unpacked under a bound: a few bytes can hold gigabytes."""

import io
import zlib

import zstandard
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from actors.errors import InvalidRequest

_GZIP, _DEFLATE = zlib.MAX_WBITS | 16, zlib.MAX_WBITS
_MAX_WINDOW_BYTES = 8 << 20
"""Of zstd, as browsers allow it: what one request may make us allocate besides its text."""
_MAX_LAYERS = 2


def unpacked(raw: bytes, encodings: str, *, max_bytes: int) -> bytes:
    """Undo the encodings of a body, the last one named first.

    Raises:
        UnsupportedMediaType: one is none that we know, or there are too many.
        RequestEntityTooLarge: the text is longer than `max_bytes`.
        InvalidRequest: the body is not what its encoding says.
    """
    names = [name.strip().lower() for name in encodings.split(",")]
    layers = [name for name in reversed(names) if name not in {"", "identity"}]
    if len(layers) > _MAX_LAYERS:
        raise UnsupportedMediaType("the request body is encoded too many times: send it plain")
    for name in layers:
        raw = _unpacked(raw, name, max_bytes)
    return raw


def _unpacked(raw: bytes, name: str, max_bytes: int) -> bytes:
    try:
        match name:
            case "gzip" | "x-gzip":
                return _inflated(raw, _GZIP, max_bytes)
            case "deflate":
                return _inflated(raw, _DEFLATE, max_bytes)
            case "zstd":
                return _bounded(_zstd(raw, max_bytes + 1), max_bytes)
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        raise InvalidRequest("failed to decompress request body") from error
    raise UnsupportedMediaType(f'Content-Encoding "{name}" is not supported: send gzip, deflate, zstd or plain JSON')


def _inflated(raw: bytes, wbits: int, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(wbits)
    text = _bounded(inflater.decompress(raw, max_bytes + 1), max_bytes)
    if not inflater.eof:
        raise EOFError("the compressed body is cut short")
    return text


def _zstd(raw: bytes, n_bytes: int) -> bytes:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    with unpacker.stream_reader(io.BytesIO(raw), read_across_frames=True) as reader:
        return reader.read(n_bytes)


def _bounded(text: bytes, max_bytes: int) -> bytes:
    if len(text) > max_bytes:
        raise RequestEntityTooLarge
    return text
