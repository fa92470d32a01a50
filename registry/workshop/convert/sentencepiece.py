"""The pieces of a `tokenizer.model` file: the one part of SentencePiece's protobuf message that a vocabulary needs.

Source: `sentencepiece_model.proto`: message ModelProto, field 1 `pieces` with piece (1), score (2) and type (3).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.errors import ConversionFailed

_LONGEST_BYTES = 64 << 20
_NORMAL = 1
_TYPES = range(1, 7)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


@dataclass(frozen=True, slots=True)
class Piece:
    """One token: its text, score, and type in the numbering that GGUF shares."""

    text: bytes
    score: float
    type: int


def read_pieces(path: Path) -> list[Piece]:
    """Read all pieces, in the order of their ids.

    Raises:
        ConversionFailed: it is no such file.
    """
    if path.stat().st_size > _LONGEST_BYTES:
        raise ConversionFailed(f"tokenizer.model has more than {_LONGEST_BYTES} bytes")
    try:
        fields = _fields(path.read_bytes())
        pieces = [_piece(value) for number, value in fields if number == 1 and isinstance(value, bytes)]
    except (IndexError, struct.error, ValueError) as error:
        raise ConversionFailed("tokenizer.model is no SentencePiece model, or is cut short") from error
    if not pieces:
        raise ConversionFailed("tokenizer.model holds no pieces")
    return pieces


def _piece(message: bytes) -> Piece:
    text, score, kind = b"", 0.0, _NORMAL
    for number, value in _fields(message):
        if number == 1 and isinstance(value, bytes):
            text = value
        elif number == 2 and isinstance(value, float):  # noqa: PLR2004 - the field of the score
            score = value
        elif number == 3 and isinstance(value, int) and value in _TYPES:  # noqa: PLR2004 - the field of the type
            kind = value
    return Piece(text, score, kind)


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int | float]]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        value: bytes | int | float
        if wire == _VARINT:
            value, at = _varint(message, at)
        elif wire == _BYTES:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("cut short")
            value, at = message[at : at + length], at + length
        elif wire == _FIXED32:
            value, at = struct.unpack_from("<f", message, at)[0], at + 4
        elif wire == _FIXED64:
            value, at = struct.unpack_from("<d", message, at)[0], at + 8
        else:
            raise ValueError("no protobuf")
        yield tag >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        byte = message[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, at + index + 1
    raise ValueError("a number is too long")
