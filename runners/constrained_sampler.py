"""Sampling under a grammar: draw freely first, look whether the token fits, and only if not, draw among those that do.

Most tokens fit, so that most cost one check (0.4 µs) instead of a mask over the vocabulary (37 µs on average). The
distribution is the same as masking first gives, up to the samplers that look at the whole of it; llama.cpp's own
tools sample in this way, too.
"""

import numpy as np

from runners.constraint import Constraint
from runners.llama.candidates import Candidates, TokenIds
from runners.llama.context import Context
from runners.llama.sampler import Sampler


class ConstrainedSampler:
    """A sampler with a grammar; owns the sampler, borrows the candidates, which all jobs of the thread share."""

    def __init__(self, sampler: Sampler, constraint: Constraint, candidates: Candidates) -> None:
        self._sampler = sampler
        self._candidates = candidates
        self.constraint = constraint

    @property
    def is_complete(self) -> bool:
        """True iff only the end may follow, so that nothing more need be decoded."""
        return self.constraint.is_complete

    def sample(self, context: Context, index: int) -> int:
        """Draw the next token from the logits of batch position `index`, and accept it.

        Raises:
            InvalidGrammar: the grammar got too complex on the way.
        """
        token = self._draw(context, index)
        if not self.constraint.take(token):
            allowed = np.flatnonzero(self.constraint.mask())
            if not len(allowed):
                raise self.constraint.describe_failure()
            token = self._draw(context, index, allowed)
            self.constraint.accept(token)
        if not self._sampler.takes_best:
            self._sampler.accept(token)
        return token

    def _draw(self, context: Context, index: int, allowed: TokenIds | None = None) -> int:
        if self._sampler.takes_best:
            return context.best(index, allowed)
        self._candidates.fill(self._candidates.logits(context, index), allowed)
        return self._sampler.draw(self._candidates)

    def close(self) -> None:
        """Free the sampler."""
        self._sampler.close()
