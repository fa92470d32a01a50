"""A native batch of embeddings: a part of one image or sound, in one sequence.

Layout of `llama_batch` (llama.h) with `embd` in place of `token`. Models that count positions in several dimensions
take them one dimension after the other: `pos[dimension * n_tokens + i]`.
"""

import ctypes
from collections.abc import Sequence

from runners.llama.binding import native
from runners.media import MediaSpan


class MediaBatch:
    """Embeddings `first` to `first + count` of a span; borrows the span's memory."""

    def __init__(
        self, span: MediaSpan, *, first: int, count: int, position: int, sequence: int, output_last: bool
    ) -> None:
        """Lay out the batch; `position` is that of the span's first embedding."""
        self._span = span
        width_bytes = ctypes.sizeof(span.embeddings) // span.n_tokens
        floats = ctypes.POINTER(ctypes.c_float)
        start = ctypes.addressof(span.embeddings) + first * width_bytes
        dimensions: Sequence[Sequence[int]] = span.positions or [range(position, position + span.n_tokens)]
        positions = [at for dimension in dimensions for at in dimension[first : first + count]]
        self._positions = (ctypes.c_int32 * len(positions))(*positions)
        self._counts = (ctypes.c_int32 * count)(*[1] * count)
        self._sequence = ctypes.c_int32(sequence)
        pointer = ctypes.pointer(self._sequence)
        self._sequences = (ctypes.POINTER(ctypes.c_int32) * count)(*[pointer] * count)
        self._outputs = (ctypes.c_int8 * count)()
        self._outputs[count - 1] = output_last
        self.native = native.llama_batch(
            n_tokens=count,
            token=None,
            embd=ctypes.cast(start, floats),
            pos=self._positions,
            n_seq_id=self._counts,
            seq_id=self._sequences,
            logits=self._outputs,
        )

    def __len__(self) -> int:
        return int(self.native.n_tokens)
