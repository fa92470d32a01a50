"""Token bytes to text: an incomplete UTF-8 character is held back until the next token completes it."""

import codecs


class Utf8Stream:
    """An incremental UTF-8 decoder; invalid bytes become U+FFFD, as llama.cpp's own server shows them."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, piece: bytes) -> str:
        """Take the bytes of one token; return the characters that are whole."""
        return self._decoder.decode(piece)

    def flush(self) -> str:
        """Give back what an unfinished character leaves at the end: nothing, or U+FFFD."""
        return self._decoder.decode(b"", final=True)
