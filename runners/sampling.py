"""How the jobs of one engine draw their tokens: the samplers they get, and what is checked before.

A job without a grammar gets llama.cpp's chain alone, which needs nothing from Python between logits and token.
"""

from actors.errors import InvalidRequest
from actors.messages.job import SamplingOptions
from runners.constrained_sampler import ConstrainedSampler
from runners.jobs import PreparedJob
from runners.llama.candidates import Candidates
from runners.llama.model import Model
from runners.llama.sampler import Sampler
from runners.logprobs import Logprobs

_MOST_BIASES = 4096
_MOST_BREAKERS = 16  # llama.cpp walks the whole vocabulary for each


class Sampling:
    """Makes the samplers of one engine; owned by the decode thread."""

    def __init__(self, model: Model, *, num_ctx: int) -> None:
        self._model = model
        self._num_ctx = num_ctx
        self._shared: Candidates | None = None  # made at the first job that needs them

    def sampler(self, job: PreparedJob) -> Sampler | ConstrainedSampler:
        """Make the sampler of a job, at the state in which the resumed part of its answer leaves it.

        Raises:
            InvalidGrammar: that part does not fit its grammar.
        """
        if job.constraint is not None:
            for token in job.resumed:
                job.constraint.accept(token)
        chain = Sampler(self._model, job.sampling, prompt=job.text_tokens, num_ctx=self._num_ctx)
        return chain if job.constraint is None else ConstrainedSampler(chain, job.constraint, self._candidates())

    def logprobs(self, job: PreparedJob) -> Logprobs | None:
        """Make what tells the log probabilities of a job, if it wants them."""
        if job.top_logprobs is None:
            return None
        return Logprobs(min(job.top_logprobs, self._model.n_vocab), self._model.piece, self._candidates())

    def _candidates(self) -> Candidates:
        if self._shared is None:
            self._shared = Candidates(self._model.n_vocab)
        return self._shared


def check_sampling(options: SamplingOptions, *, n_vocab: int) -> None:
    """Check what only a runner can know of, or must not take on trust.

    Raises:
        InvalidRequest: biases for tokens that the model does not have, or too many of something.
    """
    wrong = next((token for token, _ in options.logit_bias if not 0 <= token < n_vocab), None)
    if wrong is not None:
        raise InvalidRequest(f"logit_bias holds {wrong}, which is no token of this model: ids are 0 to {n_vocab - 1}")
    if len(options.logit_bias) > _MOST_BIASES:
        raise InvalidRequest(f"logit_bias has {len(options.logit_bias)} tokens, {_MOST_BIASES} are allowed")
    if len(options.dry_sequence_breakers) > _MOST_BREAKERS:
        raise InvalidRequest(
            f"dry_sequence_breakers has {len(options.dry_sequence_breakers)} texts, {_MOST_BREAKERS} are allowed"
        )
