"""A llama.cpp context that pools: for embedding models the only one, for others beside that of the generations.

A context of its own, because a context that embeds outputs every token of a batch, and switching one between both uses
has its graph built anew each time. Its cache is one for all sequences (`kv_unified`), since llama.cpp pools within one
ubatch only, and a split cache would cut inputs of different lengths into several. Encoders keep no cache at all.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

from actors.errors import DecodeFailed
from actors.messages.model import LoadPlan
from runners.embedding_shape import EmbeddingShape
from runners.llama.batch import Batch
from runners.llama.binding import load_error, native
from runners.llama.context import use_adapters
from runners.llama.layout import chosen_layout, layout_remedy
from runners.llama.model import Model

_MOST_SEQUENCES = 64
_CONTEXT_PADDING = 256
_FLOAT_BYTES = 4


class EmbeddingContext:
    """Pools up to `n_sequences` inputs in one call. Owned by the decode thread."""

    def __init__(self, model: Model, plan: LoadPlan, shape: EmbeddingShape) -> None:
        """Allocate cache and compute buffers.

        Raises:
            LoadFailed: not enough memory, or an architecture that cannot embed; carries llama.cpp's reason.
        """
        self.n_sequences = 1 if model.keeps_state else min(_MOST_SEQUENCES, shape.n_batch)
        self.n_cells = max(plan.num_ctx, shape.n_batch)
        """Tokens of all sequences together, where the model keeps a cache."""
        params = native.llama_context_default_params()
        params.n_ctx = -(-self.n_cells // _CONTEXT_PADDING) * _CONTEXT_PADDING
        params.n_seq_max = self.n_sequences
        # llama.cpp plans for as many tokens of each sequence, and aborts where that rounds a mean's batch up.
        params.n_batch = params.n_ubatch = -(-shape.n_batch // self.n_sequences) * self.n_sequences
        params.n_threads = params.n_threads_batch = plan.n_threads
        params.pooling_type = int(shape.pooling)
        params.embeddings = True
        params.kv_unified = True
        params.no_perf = True
        params.offload_kqv = plan.kv_on_device
        layout = chosen_layout(plan)
        params.flash_attn_type = layout.flash_attention
        params.type_k, params.type_v = layout.key_type, layout.value_type
        self._handle: Any = native.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise load_error("llama.cpp could not create a context for embeddings", remedy=layout_remedy(plan))
        self._memory = native.llama_get_memory(self._handle)
        self._width = 1 if shape.is_reranker else native.llama_model_n_embd_out(model.handle)

    def use_adapters(self, handles: Sequence[Any], scales: Sequence[float]) -> None:
        """Decode with this set of adapters from now on."""
        use_adapters(self._handle, handles, scales)

    def decode(self, batch: Batch) -> None:
        """Evaluate a batch, every token of which is an output.

        Raises:
            DecodeFailed: nothing is known of the batch's sequences; the caller clears them.
        """
        status = native.llama_decode(self._handle, batch.native)
        if status != 0:
            raise DecodeFailed(f"llama.cpp could not embed a batch of {len(batch)} tokens (status {status})")

    def pooled(self, sequence: int) -> bytes:
        """Give what the last `decode` pooled for a sequence: 32-bit floats, `width` of them.

        Raises:
            DecodeFailed: the sequence was not in that batch.
        """
        values = native.llama_get_embeddings_seq(self._handle, sequence)
        if not values:
            raise DecodeFailed(f"llama.cpp gave no embedding for sequence {sequence}")
        return ctypes.string_at(values, self._width * _FLOAT_BYTES)

    def clear(self, sequence: int) -> None:
        """Forget a sequence; nothing to do for an encoder."""
        if self._memory:
            native.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def set_threads(self, n_threads: int) -> None:
        """Use so many threads from the next decode on."""
        native.llama_set_n_threads(self._handle, n_threads, n_threads)

    def close(self) -> None:
        """Free cache and buffers; idempotent."""
        if self._handle:
            native.llama_free(self._handle)
            self._handle = None
