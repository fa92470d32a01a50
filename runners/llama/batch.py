"""The native batch: token, position and sequence arrays that are allocated once and filled for every step.

Layout of `llama_batch` (llama.h): arrays of length `n_tokens`; here every token belongs to exactly one sequence, so
`n_seq_id` is all ones and `seq_id[i]` points at one int32 each, set up once.
"""

import ctypes
from collections.abc import Sequence

from runners.llama.binding import native


class Batch:
    """Up to `capacity` tokens for one decode call."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._tokens = (ctypes.c_int32 * capacity)()
        self._positions = (ctypes.c_int32 * capacity)()
        self._sequences = (ctypes.c_int32 * capacity)()
        self._outputs = (ctypes.c_int8 * capacity)()
        self._counts = (ctypes.c_int32 * capacity)(*[1] * capacity)
        pointer, base = ctypes.POINTER(ctypes.c_int32), ctypes.addressof(self._sequences)
        self._pointers = (pointer * capacity)(
            *[ctypes.cast(base + i * ctypes.sizeof(ctypes.c_int32), pointer) for i in range(capacity)]
        )
        self.native = native.llama_batch(
            n_tokens=0,
            token=self._tokens,
            embd=None,
            pos=self._positions,
            n_seq_id=self._counts,
            seq_id=self._pointers,
            logits=self._outputs,
        )

    def __len__(self) -> int:
        return int(self.native.n_tokens)

    def clear(self) -> None:
        """Empty the batch."""
        self.native.n_tokens = 0

    def output_all(self) -> None:
        """Make every token an output, as a context that embeds requires."""
        count = int(self.native.n_tokens)
        self._outputs[:count] = [1] * count

    def add(self, tokens: Sequence[int], *, position: int, sequence: int, output_last: bool) -> int:
        """Append consecutive tokens of one sequence.

        Returns:
            Index of the last one in the batch, by which its logits are sampled when `output_last`.
        """
        start, count = int(self.native.n_tokens), len(tokens)
        end = start + count
        if count == 1:
            self._tokens[start] = tokens[0]
            self._positions[start] = position
            self._sequences[start] = sequence
        else:
            self._tokens[start:end] = [*tokens]
            self._positions[start:end] = [*range(position, position + count)]
            self._sequences[start:end] = [sequence] * count
            self._outputs[start:end] = [0] * count
        self._outputs[end - 1] = output_last
        self.native.n_tokens = end
        return end - 1

    def add_draft(self, tokens: list[int], *, position: int, sequence: int) -> int:
        """Append consecutive tokens of one sequence, with logits of each; return the index of the first."""
        first = len(self)
        self.add(tokens, position=position, sequence=sequence, output_last=True)
        self._outputs[first : first + len(tokens)] = [1] * len(tokens)
        return first
