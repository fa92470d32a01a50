"""The native side of multi-token prediction: a context over the layers with which a model guesses its own next tokens.

Such a layer reads, for each position, the token there and the state in which the model left the position before. So the
main context must output the states of all its tokens, and this one takes batches with tokens and states. Both calls
are in llama.cpp's staging header, which is why the bindings are pinned. Owned by the decode thread.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.errors import DecodeFailed
from actors.messages.model import LoadPlan
from runners.llama.binding import load_error, native, nextn
from runners.llama.context import Context
from runners.llama.model import Model

States = npt.NDArray[np.float32]

_MTP = 1  # enum llama_context_type


class MtpContext:
    """Cells of the predicting layer for `plan.n_slots` sequences of `num_ctx` tokens."""

    def __init__(self, model: Model, plan: LoadPlan, *, num_ctx: int) -> None:
        """Allocate them.

        Raises:
            LoadFailed: there is no memory for it.
        """
        self.num_ctx = num_ctx
        params = native.llama_context_default_params()
        params.ctx_type = _MTP
        params.n_ctx = num_ctx * plan.n_slots
        params.n_seq_max = plan.n_slots
        params.n_batch = params.n_ubatch = plan.n_batch
        params.n_threads = params.n_threads_batch = plan.n_threads
        params.kv_unified = False
        params.offload_kqv = plan.kv_on_device
        params.no_perf = True
        self._handle: Any = native.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise load_error("llama.cpp could not create a context for the predicting layer", num_ctx=num_ctx)
        nextn.llama_set_embeddings_nextn(self._handle, True, True)  # noqa: FBT003  # native: on, of outputs only
        self._memory = native.llama_get_memory(self._handle)
        self._n_vocab = model.n_vocab
        self._width = model.state_width

    def decode(self, parts: Sequence[tuple[int, int, Sequence[int], States]]) -> list[tuple[int, States]]:
        """Evaluate tokens with the states before them, consecutive ones per sequence.

        Args:
            parts: per sequence its number, the position of the first token, the tokens, and a state for each.

        Returns:
            Per part the most likely token behind it, and the state that a guess behind that needs.

        Raises:
            DecodeFailed: nothing is known of the cells any more.
        """
        tokens = [token for part in parts for token in part[2]]
        sequences = [part[0] for part in parts for _ in part[2]]
        positions = [part[1] + n for part in parts for n in range(len(part[2]))]
        states = np.ascontiguousarray(np.concatenate([part[3] for part in parts]), dtype=np.float32)
        count = len(tokens)
        ends = np.cumsum([len(part[2]) for part in parts]) - 1
        outputs = (ctypes.c_int8 * count)()
        for end in ends:
            outputs[end] = 1
        each = [(ctypes.c_int32 * 1)(sequence) for sequence in sequences]
        pointer = ctypes.POINTER(ctypes.c_int32)
        batch = native.llama_batch(
            n_tokens=count,
            token=(ctypes.c_int32 * count)(*tokens),
            embd=states.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            pos=(ctypes.c_int32 * count)(*positions),
            n_seq_id=(ctypes.c_int32 * count)(*[1] * count),
            seq_id=(pointer * count)(*[ctypes.cast(one, pointer) for one in each]),
            logits=outputs,
        )
        status = native.llama_decode(self._handle, batch)
        if status != 0:
            raise DecodeFailed(f"llama.cpp could not predict behind {count} tokens (status {status})")
        return [self._output(int(end)) for end in ends]

    def cut(self, sequence: int, *, keep: int) -> None:
        """Drop all cells of a sequence from position `keep` on."""
        native.llama_memory_seq_rm(self._memory, sequence, keep, -1)

    def copy_from(self, other: "MtpContext", sequence: int) -> bool:
        """Take over a sequence of a smaller context, which must be empty here; False if it does not fit."""
        size = native.llama_state_seq_get_size(other._handle, sequence)  # noqa: SLF001  # another one of us
        state = (ctypes.c_uint8 * size)()
        native.llama_state_seq_get_data(other._handle, state, size, sequence)  # noqa: SLF001  # the same
        return bool(native.llama_state_seq_set_data(self._handle, state, size, sequence))

    def set_threads(self, n_threads: int) -> None:
        """Use so many threads from the next decode on."""
        native.llama_set_n_threads(self._handle, n_threads, n_threads)

    def close(self) -> None:
        """Free the cells; idempotent."""
        if self._handle:
            native.llama_free(self._handle)
            self._handle = None

    def _output(self, index: int) -> tuple[int, States]:
        logits = np.ctypeslib.as_array(native.llama_get_logits_ith(self._handle, index), shape=(self._n_vocab,))
        state = np.ctypeslib.as_array(nextn.llama_get_embeddings_nextn_ith(self._handle, index), shape=(self._width,))
        return int(logits.argmax()), state.copy()


def states_of(context: Context, model: Model, n_tokens: int) -> States:
    """Give the states of the `n_tokens` tokens that a context has just decoded: borrowed until the next decode."""
    return np.ctypeslib.as_array(nextn.llama_get_embeddings_nextn(context.handle), shape=(n_tokens, model.state_width))
