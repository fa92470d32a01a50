"""A llama.cpp context: the KV cache of all slots and the decode call. Owned by the decode thread.

The cache is split (`kv_unified` false): each slot has its own stream of `num_ctx` cells. Measured on two CPU cores
with eight sequences of 620 own tokens: 175 tokens/s split, 38.5 unified.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.errors import DecodeFailed
from actors.messages.model import LoadPlan
from runners.llama.batch import Batch
from runners.llama.binding import load_error, native, nextn
from runners.llama.cells import convert, n_streams_of, with_streams
from runners.llama.layout import Layout, layout_for, layout_remedy
from runners.llama.media_batch import MediaBatch
from runners.llama.model import Model

_CONTEXT_PADDING = 256  # llama.cpp pads the cells of a stream to a multiple of this


_new_bytes = ctypes.pythonapi.PyBytes_FromStringAndSize
_new_bytes.restype, _new_bytes.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t)
"""Gives bytes that are yet to be written, once, by whoever asked: the one way to have llama.cpp fill them itself.

Copying 30 MB once more took longer than llama.cpp took to hand them over (2 ms): its pages are all new."""


def use_adapters(context: Any, handles: Sequence[Any], scales: Sequence[float]) -> None:
    """Give a native context a set of adapters in place of that which it has."""
    count = len(handles)
    native.llama_set_adapters_lora(
        context, (native.llama_adapter_lora_p_ctypes * count)(*handles), count, (ctypes.c_float * count)(*scales)
    )


class Context:
    """KV cache and compute graph for sequences that are evaluated side by side."""

    def __init__(
        self,
        model: Model,
        plan: LoadPlan,
        *,
        num_ctx: int | None = None,
        n_slots: int | None = None,
        layout: Layout | None = None,
    ) -> None:
        """Allocate the cache and the compute buffers: `n_slots` sequences of `num_ctx` tokens, at most the planned.

        `layout` is that of the cache where it shall not be the one that suits plan and processor.

        Raises:
            LoadFailed: not enough memory, or an unsupported architecture; the message carries llama.cpp's reason.
        """
        params = native.llama_context_default_params()
        self.num_ctx = min(num_ctx or plan.num_ctx, plan.num_ctx)
        """Tokens that each slot holds."""
        self.n_slots = min(n_slots or plan.n_slots, plan.n_slots)
        """Sequences; their numbers are below it."""
        params.n_ctx = -(-self.num_ctx // _CONTEXT_PADDING) * _CONTEXT_PADDING * self.n_slots
        params.n_seq_max = self.n_slots
        params.n_batch = params.n_ubatch = plan.n_batch
        params.n_threads = params.n_threads_batch = plan.n_threads
        params.kv_unified = False
        self.layout = layout or layout_for(model, plan, num_ctx=self.num_ctx)
        params.flash_attn_type = self.layout.flash_attention
        params.type_k, params.type_v = self.layout.key_type, self.layout.value_type
        params.offload_kqv = plan.kv_on_device
        params.no_perf = True
        self.handle: Any = native.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise load_error("llama.cpp could not create a context", remedy=layout_remedy(plan), num_ctx=self.num_ctx)
        if model.predicts:
            nextn.llama_set_embeddings_nextn(self.handle, True, False)  # noqa: FBT003  # native: on, of every token
        self._memory = native.llama_get_memory(self.handle)
        self._n_vocab = model.n_vocab
        self._has_plain_cells = model.has_plain_cells
        self._adapters: tuple[Sequence[Any], Sequence[float]] = ((), ())
        self.can_shift: bool = bool(native.llama_memory_can_shift(self._memory)) and not model.keeps_state
        """Whether cells can be dropped from the middle of a sequence and the rest moved up."""

    def decode(self, batch: Batch) -> None:
        """Evaluate a batch; its cells are then part of the sequences.

        Raises:
            DecodeFailed: nothing is known of the batch's cells; the caller clears the sequences in it.
        """
        status = native.llama_decode(self.handle, batch.native)
        if status != 0:
            raise DecodeFailed(f"llama.cpp could not evaluate a batch of {len(batch)} tokens (status {status})")
        native.llama_synchronize(self.handle)  # sampling would wait for the device anyway; here it is measured

    def best(self, index: int, allowed: npt.NDArray[np.intp] | None = None) -> int:
        """Give the most likely token at batch position `index`, or of those allowed; of equal ones the first."""
        address = ctypes.addressof(native.llama_get_logits_ith(self.handle, index).contents)
        row = (ctypes.c_float * self._n_vocab).from_address(address)
        logits = np.frombuffer(memoryview(row), dtype=np.float32)
        if allowed is None:
            return int(logits.argmax())
        return int(allowed[logits[allowed].argmax()])

    def use_adapters(self, handles: Sequence[Any], scales: Sequence[float]) -> None:
        """Decode with this set of adapters from now on; free where the context has it already."""
        if self._adapters != (handles, scales):
            use_adapters(self.handle, handles, scales)
            self._adapters = handles, scales

    def decode_media(self, batch: MediaBatch, *, is_causal: bool) -> None:
        """Evaluate embeddings; their cells are then part of their sequence.

        Raises:
            DecodeFailed: nothing is known of the batch's cells; the caller clears the sequence.
        """
        native.llama_set_causal_attn(self.handle, is_causal)
        status = native.llama_decode(self.handle, batch.native)
        native.llama_set_causal_attn(self.handle, True)  # noqa: FBT003  # native
        if status != 0:
            raise DecodeFailed(f"llama.cpp could not evaluate {len(batch)} embeddings of a medium (status {status})")
        native.llama_synchronize(self.handle)

    def cut(self, sequence: int, *, keep_tokens: int) -> bool:
        """Drop all cells of a sequence from position `keep_tokens` on.

        Returns:
            False iff this memory cannot be cut there (recurrent state); the sequence must then be cleared.
        """
        return bool(native.llama_memory_seq_rm(self._memory, sequence, keep_tokens, -1))

    def drop(self, sequence: int, *, start: int, n_tokens: int) -> bool:
        """Drop cells from the middle of a sequence and move those behind them up, which the next decode finishes.

        Returns:
            False iff this memory cannot; nothing is changed then.
        """
        end = start + n_tokens
        if not native.llama_memory_seq_rm(self._memory, sequence, start, end):
            return False
        native.llama_memory_seq_add(self._memory, sequence, end, -1, -n_tokens)
        return True

    def first_position(self, sequence: int) -> int:
        """Give the lowest position whose cell is still present, -1 for none; above 0 a window has slid."""
        return int(native.llama_memory_seq_pos_min(self._memory, sequence))

    def copy_from(self, other: "Context", sequence: int) -> None:
        """Take over the cells of a sequence of another context of the same model; this one's must be empty.

        Raises:
            DecodeFailed: the state does not fit here.
        """
        state = other.state(sequence)
        if other.layout != self.layout:
            state = convert(state, value_type=self.layout.value_type, transposed=self.layout.transposes_values)
        if not self.restore(sequence, state):
            raise DecodeFailed(f"llama.cpp could not move slot {sequence} of {len(state)} bytes to another context")

    def state_bytes(self, sequence: int) -> int:
        """Tell how large a copy of a sequence's cells is."""
        return int(native.llama_state_seq_get_size(self.handle, sequence))

    def state(self, sequence: int) -> bytes:
        """Copy a sequence's cells out."""
        size = self.state_bytes(sequence)
        state: bytes = _new_bytes(None, size)
        n_read = native.llama_state_seq_get_data(self.handle, _address_of(state), size, sequence)
        return state if n_read == size else state[:n_read]

    def restore(self, sequence: int, state: bytes) -> bool:
        """Give a sequence, which must be empty, the cells of a `state` of the same layout; False if they do not fit.

        Raises:
            DecodeFailed: it is no state.
        """
        if self._has_plain_cells and n_streams_of(state) != self.n_slots:
            state = with_streams(state, self.n_slots)
        return bool(native.llama_state_seq_set_data(self.handle, _address_of(state), len(state), sequence))

    def set_threads(self, n_threads: int) -> None:
        """Use so many threads from the next decode on."""
        native.llama_set_n_threads(self.handle, n_threads, n_threads)

    def close(self) -> None:
        """Free the cache."""
        if self.handle:
            native.llama_free(self.handle)
            self.handle = None


def _address_of(state: bytes) -> Any:
    return ctypes.cast(ctypes.c_char_p(state), ctypes.POINTER(ctypes.c_uint8))
