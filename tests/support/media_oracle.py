"""libmtmd's own loop over a prompt with media: one sequence, nothing shared, nothing cut in parts."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as native
import numpy as np
from llama_cpp import mtmd_cpp as mtmd

from tests.support.oracle import GreedyAnswer

_N_CTX = 2048


class MediaOracle:
    """A text model with its projector."""

    def __init__(self, text: Path, projector: Path) -> None:
        native.llama_backend_init()
        model_params = native.llama_model_default_params()
        model_params.n_gpu_layers = 0
        self._model = native.llama_model_load_from_file(str(text).encode(), model_params)
        params = mtmd.mtmd_context_params_default()
        params.use_gpu, params.n_threads, params.print_timings, params.warmup = False, 1, False, False
        self._projector = mtmd.mtmd_init_from_file(str(projector).encode(), self._model, params)
        assert self._projector

    def greedy_answer(self, prompt: str, media: Sequence[bytes], *, n_tokens: int) -> GreedyAnswer:
        """Decode greedily after a prompt; `{}` stands for each medium."""
        params = native.llama_context_default_params()
        params.n_ctx = params.n_batch = _N_CTX
        params.n_threads = params.n_threads_batch = 1
        context = native.llama_init_from_model(self._model, params)
        position = self._evaluate(context, prompt.replace("{}", mtmd.mtmd_default_marker().decode()), media)
        vocab = native.llama_model_get_vocab(self._model)
        n_vocab = native.llama_vocab_n_tokens(vocab)
        tokens: list[int] = []
        margins: list[float] = []
        batch = native.llama_batch_init(1, 0, 1)
        while len(tokens) < n_tokens:
            logits = np.ctypeslib.as_array(native.llama_get_logits_ith(context, -1), shape=(n_vocab,))
            top_two = np.partition(logits, -2)[-2:]
            tokens.append(int(np.argmax(logits)))
            margins.append(float(top_two[1] - top_two[0]))
            if native.llama_vocab_is_eog(vocab, tokens[-1]):
                break
            batch.n_tokens, batch.token[0], batch.pos[0] = 1, tokens[-1], position
            batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 0, 1
            assert native.llama_decode(context, batch) == 0
            position += 1
        native.llama_batch_free(batch)
        native.llama_free(context)
        return GreedyAnswer(tokens, margins)

    def close(self) -> None:
        """Free both."""
        mtmd.mtmd_free(self._projector)
        native.llama_model_free(self._model)

    def _evaluate(self, context: int, prompt: str, media: Sequence[bytes]) -> int:
        bitmaps = []
        for content in media:
            raw = (ctypes.c_uint8 * len(content)).from_buffer_copy(content)
            bitmaps.append(mtmd.mtmd_helper_bitmap_init_from_buf(self._projector, raw, len(content), False))  # noqa: FBT003
        raw_prompt = prompt.encode()
        text = mtmd.mtmd_input_text(text=raw_prompt, text_len=len(raw_prompt), add_special=True, parse_special=True)
        chunks = mtmd.mtmd_input_chunks_init()
        pointers = (mtmd.mtmd_bitmap_p_ctypes * len(bitmaps))(*bitmaps)
        assert mtmd.mtmd_tokenize(self._projector, chunks, ctypes.byref(text), pointers, len(bitmaps)) == 0
        position = native.llama_pos()
        arguments = (self._projector, context, chunks, 0, 0, _N_CTX, True, ctypes.byref(position))
        assert mtmd.mtmd_helper_eval_chunks(*arguments) == 0
        mtmd.mtmd_input_chunks_free(chunks)
        for bitmap in bitmaps:
            mtmd.mtmd_bitmap_free(bitmap)
        return int(position.value)
