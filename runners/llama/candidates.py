"""The candidates of one draw, as llama.cpp's samplers take them: ids and logits, filled from a context's in bulk.

One set serves all jobs of a decode thread: it holds nothing between two draws. It is used only where a token must be
looked at before it counts; the ordinary case samples without it.
"""

import ctypes
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from runners.llama.binding import native
from runners.llama.context import Context

_TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data

Logits = npt.NDArray[np.float32]
TokenIds = npt.NDArray[np.intp]


class Candidates:
    """Room for `n_vocab` candidates; owned by the decode thread."""

    def __init__(self, n_vocab: int) -> None:
        self._n_vocab = n_vocab
        self._ids = np.arange(n_vocab, dtype=np.int32)
        self._data = np.zeros(n_vocab, dtype=_TOKEN_DATA)
        self._pointer: Any = self._data.ctypes.data_as(native.llama_token_data_p)
        self._array: Any = native.llama_token_data_array()
        self.reference = ctypes.byref(self._array)

    def logits(self, context: Context, index: int) -> Logits:
        """Give the logits of batch position `index`, shape `(n_vocab,)`: borrowed until the next decode."""
        pointer = native.llama_get_logits_ith(context.handle, index)
        return np.ctypeslib.as_array(pointer, shape=(self._n_vocab,))

    def fill(self, logits: Logits, allowed: TokenIds | None = None) -> None:
        """Take all tokens, or those allowed; at least one must be."""
        if allowed is None:
            count = self._n_vocab
            self._data["id"] = self._ids
            self._data["logit"] = logits
        else:
            count = len(allowed)
            self._data["id"][:count] = allowed
            self._data["logit"][:count] = logits[allowed]
        self._array.data = self._pointer  # a sampler may have put another one there
        self._array.size = count
        self._array.selected = -1
        self._array.sorted = False

    def selected(self) -> int:
        """Give the token that the last sampler chose."""
        return int(self._array.data[self._array.selected].id)


def log_probabilities(logits: Logits) -> Logits:
    """Give the natural logarithms of the softmax."""
    most = float(logits.max())
    shifted: Logits = logits - np.float32(most)
    return shifted - np.float32(math.log(float(np.exp(shifted, dtype=np.float32).sum(dtype=np.float64))))
