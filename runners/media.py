"""Images and sounds in a prompt: where they stand, and what the model sees in their place.

A medium takes as many places in a prompt as it has embeddings. In the token list they hold ids below 0 that are drawn
from the content's hash, so that histories share a medium exactly when it is the same one.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

_ID_WORDS = 8
_ID_MASK = 0x7FFFFFFF


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MediaSpan:
    """One run of embeddings: an image, a tile of one, or a piece of sound."""

    start: int
    """Place of its first embedding in the prompt."""
    n_tokens: int
    n_positions: int
    """By how much the positions behind it advance; less than `n_tokens` where a model counts in two dimensions."""
    embeddings: Any
    """A ctypes array of `n_tokens` rows of float32."""
    positions: Sequence[Sequence[int]] | None = None
    """Per dimension the absolute position of each embedding; None where they count up by one."""
    is_causal: bool = True
    """Whether an embedding sees only those before it; if not, all must be decoded at once."""

    @property
    def end(self) -> int:
        """Place behind its last embedding."""
        return self.start + self.n_tokens


@dataclasses.dataclass(frozen=True, slots=True)
class MediaPrompt:
    """A prompt with media; `spans` is empty when it was only counted."""

    tokens: list[int]
    spans: tuple[MediaSpan, ...] = ()


def placeholder_ids(content_id: str, ordinal: int, count: int) -> list[int]:
    """Give the ids that stand for the embeddings of one run: all below 0, the same for the same content."""
    digest = hashlib.sha256(f"{content_id}/{ordinal}".encode()).digest()
    words = [int.from_bytes(digest[4 * n : 4 * n + 4], "little") & _ID_MASK for n in range(_ID_WORDS)]
    return [-1 - words[n % _ID_WORDS] for n in range(count)]


def span_at(spans: Sequence[MediaSpan], place: int) -> MediaSpan | None:
    """Find the span that holds a place."""
    return next((span for span in spans if span.start <= place < span.end), None)


def text_end(spans: Sequence[MediaSpan], place: int, *, n_tokens: int) -> int:
    """Give the place at which the text from `place` on ends: at the next medium, or with the prompt."""
    return min((max(span.start, place) for span in spans if span.end > place), default=n_tokens)


def position_of(spans: Sequence[MediaSpan], place: int) -> int:
    """Give the position of a place of text, or of a medium's first embedding."""
    return place - sum(span.n_tokens - span.n_positions for span in spans if span.end <= place)
