"""Messages to bytes and back: one byte of protocol version, then a tagged struct in msgpack.

Only header frames pass here. Payload frames (prompt bodies, later images) stay as they are, so that the scheduler
forwards them without decoding. Unknown tags, unknown versions and oversized frames are errors, never skipped.
Source of the encoding: the msgpack specification, through msgspec.
"""

from typing import Any, Generic, TypeVar

import msgspec

from actors.errors import InvalidRequest, MalformedMessage, ProtocolMismatch

PROTOCOL_VERSION = 3
MAX_HEADER_BYTES = 4 << 20
"""A header is small but for `RunnerHello` and a large step; 4 MiB is a hundred times the largest seen."""

# The version byte starts at 64: an XPUB takes a frame that begins with 0 or 1 for an (un)subscription.
_VERSION_BASE = 64
_VERSION = bytes([_VERSION_BASE + PROTOCOL_VERSION])
_encoder = msgspec.msgpack.Encoder()

T = TypeVar("T")


def encode(message: msgspec.Struct) -> bytes:
    """Encode one message to a header frame.

    Raises:
        InvalidRequest: a value in it cannot travel; see `encode_body`.
    """
    return _VERSION + encode_body(message)


def encode_body(body: msgspec.Struct) -> bytes:
    """Encode a payload frame, which carries no version: its header does.

    Raises:
        InvalidRequest: a number is over 64 bits, a text no Unicode, or the nesting too deep. Our own values never
            are; a caller's tools and arguments, which JSON does not bound, can be.
    """
    try:
        return _encoder.encode(body)
    except (OverflowError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidRequest(f"a value in the request is out of range: {error}") from error


class Codec(Generic[T]):
    """Decodes the header frames of one direction, whose messages are the union `T`."""

    def __init__(self, union: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(union)

    def decode(self, frame: bytes) -> T:
        """Decode a header frame.

        Raises:
            ProtocolMismatch: the first byte names another version.
            MalformedMessage: anything else is wrong with it.
        """
        if not frame or len(frame) > MAX_HEADER_BYTES:
            raise MalformedMessage(f"header frame of {len(frame)} bytes, expected 1 to {MAX_HEADER_BYTES}")
        if frame[0] != _VERSION[0]:
            raise ProtocolMismatch(expected=PROTOCOL_VERSION, got=frame[0] - _VERSION_BASE)
        return self.decode_body(memoryview(frame)[1:])

    def decode_body(self, frame: bytes | memoryview) -> T:
        """Decode a payload frame.

        Raises:
            MalformedMessage: it does not hold a `T`.
        """
        try:
            return self._decoder.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedMessage(f"cannot decode a message: {error}") from error
