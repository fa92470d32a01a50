"""Log probabilities of one answer's tokens, told when the text of the token is.

They are those of the model itself: before penalties, temperature and every other sampler. The text of a token may be
held back because it may become a stop string; its entry waits with it, and is dropped with it.
"""

from collections.abc import Callable

import numpy as np

from actors.messages.runner_to_gateway import TokenLogprob
from runners.llama.candidates import Candidates, Logits, log_probabilities
from runners.llama.context import Context

_LEAST = -9999.0
"""Stands for minus infinity, which JSON cannot carry."""


class Logprobs:
    """The entries of one job; owned by the decode thread."""

    def __init__(self, n_top: int, piece_of: Callable[[int], bytes], candidates: Candidates) -> None:
        self._n_top = n_top
        self._piece_of = piece_of
        self._candidates = candidates
        self._held: list[TokenLogprob] = []

    def feed(self, context: Context, index: int, token: int) -> None:
        """Take a token that was drawn from the logits of batch position `index`."""
        logprobs = log_probabilities(self._candidates.logits(context, index))
        self._held.append(TokenLogprob(self._piece_of(token), _told(logprobs, token), self._top(logprobs)))

    def take(self) -> tuple[TokenLogprob, ...]:
        """Give the entries whose text is shown now."""
        taken = tuple(self._held)
        self._held.clear()
        return taken

    def _top(self, logprobs: Logits) -> tuple[tuple[bytes, float], ...]:
        if not self._n_top:
            return ()
        best = np.argpartition(logprobs, -self._n_top)[-self._n_top :]
        ordered = best[np.argsort(-logprobs[best], kind="stable")]
        return tuple((self._piece_of(int(token)), _told(logprobs, int(token))) for token in ordered)


def _told(logprobs: Logits, token: int) -> float:
    return max(_LEAST, float(logprobs[token]))
