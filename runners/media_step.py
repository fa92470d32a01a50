"""Which part of which image or sound a step decodes: one part per step, beside the text of the others.

llama.cpp takes either tokens or embeddings in one call, so media have a call of their own. A part is bounded by the
same budget as prompts; where an image's embeddings all see each other it must go in whole.
"""

import dataclasses
from collections.abc import Sequence

from runners.llama.context import Context
from runners.llama.media_batch import MediaBatch
from runners.media import MediaSpan
from runners.slots import Slot


@dataclasses.dataclass(frozen=True, slots=True)
class MediaPart:
    """`n_tokens` of a slot's next medium."""

    slot: Slot
    span: MediaSpan
    n_tokens: int
    position: int
    """That of the span's first embedding."""
    ends_prompt: bool

    def decode(self, context: Context) -> None:
        """Evaluate it and note its cells in the slot's history.

        Raises:
            DecodeFailed: nothing is known of the slot's cells.
        """
        slot, done = self.slot, len(self.slot.tokens)
        assert slot.job is not None  # noqa: S101  # only slots with a job have media
        batch = MediaBatch(
            self.span,
            first=done - self.span.start,
            count=self.n_tokens,
            position=self.position,
            sequence=slot.index,
            output_last=self.ends_prompt,
        )
        context.decode_media(batch, is_causal=self.span.is_causal)
        slot.tokens += slot.job.prepared.prompt[done : done + self.n_tokens]


def media_part(slots: Sequence[Slot], *, most_tokens: int) -> MediaPart | None:
    """Choose the next part, None when no slot is at a medium; first come those that have waited longest."""
    waiting = [slot for slot in slots if slot.next_medium() is not None]
    slot = min(waiting, key=lambda slot: slot.job.admitted_ns if slot.job is not None else 0, default=None)
    span = slot.next_medium() if slot is not None else None
    if slot is None or span is None or slot.job is None:
        return None
    done, prepared = len(slot.tokens), slot.job.prepared
    n_tokens = min(span.end - done, most_tokens) if span.is_causal else span.n_tokens
    return MediaPart(
        slot=slot,
        span=span,
        n_tokens=n_tokens,
        position=prepared.position(span.start),
        ends_prompt=done + n_tokens == len(prepared.prompt),
    )
