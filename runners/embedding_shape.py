"""How a model embeds: what it pools, how long an input may be, and whether one can be evaluated in pieces.

Decided from the file's metadata and the plan, so that preparing an input and evaluating it agree.

* A model that pools by its own type does so. One that names none gives the last token's state if it is causal, as every
  generation model is, else the mean.
* Where only the last token counts, and attention looks back only, an input may be evaluated in pieces beside the steps
  of running answers. Everything else needs the whole input in one batch, which then bounds it.
"""

import dataclasses
import enum

from actors.messages.model import LoadPlan
from runners.llama.model import Model

_OUTPUT_BYTES = 64 << 20
"""llama.cpp holds logits of every token of an embedding batch, wanted or not."""
_LOGIT_BYTES = 4
_SMALLEST_BATCH_TOKENS = 32


class Pooling(enum.IntEnum):
    """enum llama_pooling_type."""

    NONE = 0
    MEAN = 1
    CLS = 2
    LAST = 3
    RANK = 4


@dataclasses.dataclass(frozen=True, slots=True)
class EmbeddingShape:
    """What embedding with one loaded model looks like."""

    pooling: Pooling
    is_chunkable: bool
    n_batch: int
    """Tokens of one native batch."""
    input_tokens: int
    """The longest input, special tokens included."""

    @property
    def is_reranker(self) -> bool:
        """True iff the model scores a pair of texts instead of giving a vector."""
        return self.pooling is Pooling.RANK


def embedding_shape(model: Model, plan: LoadPlan) -> EmbeddingShape:
    """Give the shape for a model as it is loaded."""
    is_causal = model.metadata("attention.causal") != "false"
    named = model.metadata("pooling_type")
    pooling = Pooling(int(named)) if named in {str(each.value) for each in Pooling} else Pooling.NONE
    if pooling is Pooling.NONE:
        pooling = Pooling.LAST if is_causal else Pooling.MEAN
    is_chunkable = is_causal and pooling in {Pooling.LAST, Pooling.RANK}
    n_batch = plan.n_batch
    if is_chunkable:
        n_batch = min(n_batch, max(_SMALLEST_BATCH_TOKENS, _OUTPUT_BYTES // (_LOGIT_BYTES * model.n_vocab)))
    return EmbeddingShape(
        pooling=pooling,
        is_chunkable=is_chunkable,
        n_batch=n_batch,
        input_tokens=plan.num_ctx if is_chunkable else min(plan.num_ctx, n_batch),
    )
