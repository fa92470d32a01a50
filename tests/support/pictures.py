"""Images and sounds made on the spot: PNG of random pixels, WAV of a sweep."""

import struct
import zlib

import numpy as np

_RATE_HZ = 16_000


def png(width: int, height: int, *, seed: int) -> bytes:
    """Draw coarse random blocks, so that scaling leaves something to see."""
    blocks = np.random.default_rng(seed).integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
    rows = [blocks[y * 4 // height][[x * 4 // width for x in range(width)]] for y in range(height)]
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(raw)) + _chunk(b"IEND", b"")


def huge_png(width: int, height: int) -> bytes:
    """Write a header that promises a huge image, with hardly anything behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0" * 64))


def wav(seconds: float, *, from_hz: float, to_hz: float) -> bytes:
    """Sweep from one frequency to another."""
    times = np.arange(int(seconds * _RATE_HZ)) / _RATE_HZ
    phase = 2 * np.pi * (from_hz * times + (to_hz - from_hz) * times**2 / (2 * seconds))
    samples = (np.sin(phase) * 20_000).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 1, _RATE_HZ, 2 * _RATE_HZ, 2, 16)
    body = b"WAVE" + b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
