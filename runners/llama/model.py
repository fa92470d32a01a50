"""A loaded GGUF: its weights handle and its vocabulary.

The handle belongs to the thread that loaded it, which also closes it. The vocabulary is immutable after the load;
llama.cpp's vocabulary functions read it only and may be called from any one thread at a time per method, so that the
tokenizer thread uses `tokenize`, `detokenize` and `pieces` while the decode thread uses `piece` and `is_end`.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.errors import InvalidGguf, InvalidRequest
from actors.messages.model import LoadPlan
from registry.gguf import read_gguf, read_gguf_head
from runners.llama.binding import last_errors, load_error, native
from runners.llama.offload import experts_on_host

_PIECE_BYTES = 64
_METADATA_BYTES = 256
_MANY_POSITIONS = frozenset({8, 24, 40})  # enum llama_rope_type: MROPE, VISION, IMROPE
_PREDICTING = frozenset({"cohere2moe", "deepseek2", "deepseek32", "glm-dsa", "glm4moe", "hy_v3", "mimo2", "step35"})
"""Architectures whose layers for prediction llama.cpp runs beside a memory that can be cut."""
_PREDICTING_BY_SEVERAL = frozenset({"mimo2", "step35"})
_OTHER_CELLS = ("attention.kv_lora_rank", "attention.indexer.top_k", "ple.ngram_size")
"""What models have whose cells hold something else: latent attention, an indexer, tokens for per-layer embeddings."""
_SPLIT_NONE = 0  # enum llama_split_mode
_LOAD_AUTO, _LOAD_PLAIN, _LOAD_MMAP = -1, 0, 1  # enum llama_load_mode


class Model:
    """Weights and vocabulary of one GGUF file."""

    def __init__(self, path: str, plan: LoadPlan, on_progress: Callable[[float], None] = lambda _: None) -> None:
        """Load the file; `on_progress` is called meanwhile with the fraction that is read.

        Raises:
            LoadFailed: llama.cpp refused it; the message carries its reason.
            InvalidRequest: the plan names a device that there is not.
        """
        params = native.llama_model_default_params()
        params.n_gpu_layers = plan.n_gpu_layers
        no_devices = (ctypes.c_void_p * 1)()
        if plan.n_gpu_layers == 0:  # else llama.cpp would make itself at home on devices that it does not use
            params.devices = ctypes.cast(no_devices, ctypes.c_void_p)
        elif plan.main_gpu is not None:
            params.main_gpu, params.split_mode = plan.main_gpu, _SPLIT_NONE
        if plan.tensor_split:
            shares = (*plan.tensor_split, *[0.0] * native.llama_max_devices())[: native.llama_max_devices()]
            split = (ctypes.c_float * len(shares))(*shares)  # llama.cpp reads it during the load alone
            params.tensor_split = split
        params.load_mode = {None: _LOAD_AUTO, True: _LOAD_MMAP, False: _LOAD_PLAIN}[plan.use_mmap]
        overrides = experts_on_host(plan)
        if overrides is not None:
            params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
        params.load_mtp = _is_predicting(path)
        tell = _progress_callback(on_progress)
        params.progress_callback = tell
        self.handle: Any = native.llama_model_load_from_file(path.encode(), params)
        if not self.handle:
            if "main_gpu" in last_errors():
                raise InvalidRequest(f"main_gpu {plan.main_gpu} names no device of the host: {last_errors()}")
            raise load_error("llama.cpp could not load the model", path=path)
        self._vocab = native.llama_model_get_vocab(self.handle)
        self._pieces: dict[int, bytes] = {}  # owned by the decode thread
        self._ends: dict[int, bool] = {}  # the same
        self.n_vocab: int = native.llama_vocab_n_tokens(self._vocab)
        self.n_ctx_train: int = native.llama_model_n_ctx_train(self.handle)
        self.size_bytes: int = native.llama_model_size(self.handle)
        self.add_bos: bool = bool(native.llama_vocab_get_add_bos(self._vocab))
        self.bos_text = self._special_text(native.llama_vocab_bos(self._vocab))
        self.eos_text = self._special_text(native.llama_vocab_eos(self._vocab))
        template = native.llama_model_chat_template(self.handle, None)
        self.chat_template: str | None = template.decode("utf-8", "replace") if template else None
        template = native.llama_model_chat_template(self.handle, b"rerank")
        self.rerank_template: str | None = template.decode("utf-8", "replace") if template else None
        self.n_swa: int = native.llama_model_n_swa(self.handle)
        """Tokens that a sliding window spans, 0 where attention sees all."""
        self.keeps_state: bool = native.llama_model_is_recurrent(self.handle) or native.llama_model_is_hybrid(
            self.handle
        )
        """True iff a sequence has a state besides its cells, or instead of them."""
        self.predicts: bool = params.load_mtp and native.llama_model_n_layer_nextn(self.handle) > 0
        """True iff the model has layers that predict further tokens, and llama.cpp runs them."""
        self.state_width: int = native.llama_model_n_embd_out(self.handle)
        """Numbers in the state that a layer that predicts reads."""
        self.has_plain_cells: bool = not self.keeps_state and (
            native.llama_model_rope_type(self.handle) not in _MANY_POSITIONS
            and not any(self.metadata(key) for key in _OTHER_CELLS)
        )
        """True iff a cell is one position with a key and a value in every layer, and nothing else."""

    @property
    def vocab(self) -> Any:
        """The native vocabulary, for the native calls that take one."""
        return self._vocab

    @functools.cached_property
    def ends(self) -> tuple[int, ...]:
        """Every token that ends a generation; found at the first use, as it takes a call per token."""
        return tuple(token for token in range(self.n_vocab) if native.llama_vocab_is_eog(self._vocab, token))

    @functools.cached_property
    def suppressed(self) -> tuple[int, ...]:
        """The tokens that the model's authors want never to be sampled."""
        count = ctypes.c_int32(0)
        tokens = native.llama_vocab_get_suppress_tokens(self._vocab, ctypes.byref(count))
        return tuple(tokens[: count.value]) if count.value else ()

    def pieces(self) -> list[bytes]:
        """Give the bytes of every token, by id, control tokens as they are written."""
        return [self._convert(token, special=True) for token in range(self.n_vocab)]

    def is_control(self, token: int) -> bool:
        """Tell whether a token steers the model and is no text."""
        return bool(native.llama_vocab_is_control(self._vocab, token))

    def metadata(self, key: str) -> str | None:
        """Look up one of the architecture's keys in the file's metadata, as text; None when it is absent."""
        architecture = self._metadata_text("general.architecture") or ""
        return self._metadata_text(f"{architecture}.{key}")

    def pair_tokens(self) -> tuple[list[int], list[int], list[int]]:
        """Give the special tokens before, between and behind the two texts that a reranker compares."""
        vocab = self._vocab
        end, separator = native.llama_vocab_eos(vocab), native.llama_vocab_sep(vocab)
        ends = [end if end >= 0 else separator] if native.llama_vocab_get_add_eos(vocab) else []
        separators = [separator] if native.llama_vocab_get_add_sep(vocab) else []
        return [native.llama_vocab_bos(vocab)] if self.add_bos else [], [*ends, *separators], ends

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
        """Turn text into token ids; special tokens written in the text are recognised if `parse_special`.

        Raises:
            InvalidRequest: the text has over 2**31 tokens.
        """
        raw = text.encode("utf-8", "surrogatepass")
        capacity = len(raw) // 2 + 16
        while True:
            ids = (native.llama_token * capacity)()
            count = native.llama_tokenize(self._vocab, raw, len(raw), ids, capacity, add_special, parse_special)
            if count >= 0:
                return ids[:count]
            if count == -(2**31) or -count <= capacity:
                raise InvalidRequest("the prompt is too long to be tokenized")
            capacity = -count

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Turn ids of this vocabulary into text, special tokens as they are written; bad UTF-8 becomes U+FFFD."""
        ids = (native.llama_token * len(tokens))(*tokens)
        size = _PIECE_BYTES + 8 * len(tokens)
        while True:
            text = ctypes.create_string_buffer(size)
            count = native.llama_detokenize(self._vocab, ids, len(tokens), text, size, False, True)  # noqa: FBT003
            if count >= 0:
                return text.raw[:count].decode("utf-8", "replace")
            size = -count

    def piece(self, token: int) -> bytes:
        """Give the bytes of a token as they appear in an answer; control tokens have none."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._convert(token, special=False)
        return known

    def is_end(self, token: int) -> bool:
        """Tell whether the token ends a generation."""
        known = self._ends.get(token)
        if known is None:
            known = self._ends[token] = bool(native.llama_vocab_is_eog(self._vocab, token))
        return known

    def close(self) -> None:
        """Free the weights; every context of the model must have been closed."""
        if self.handle:
            native.llama_model_free(self.handle)
            self.handle = None

    def _metadata_text(self, key: str) -> str | None:
        text = ctypes.create_string_buffer(_METADATA_BYTES)
        length = native.llama_model_meta_val_str(self.handle, key.encode(), text, _METADATA_BYTES)
        return text.value.decode("utf-8", "replace") if length >= 0 else None

    def _special_text(self, token: int) -> str:
        return "" if token < 0 else self._convert(token, special=True).decode("utf-8", "replace")

    def _convert(self, token: int, *, special: bool) -> bytes:
        size = _PIECE_BYTES
        while True:
            text = ctypes.create_string_buffer(size)
            count = native.llama_token_to_piece(self._vocab, token, text, size, 0, special)
            if count >= 0:
                return text.raw[:count]
            size = -count


def _is_predicting(path: str) -> bool:
    """Tell whether a file has layers for prediction that llama.cpp can run; it ends the process where it finds others.

    A file that cannot be read is llama.cpp's to refuse.
    """
    try:
        architecture = read_gguf_head(Path(path)).architecture
        if architecture not in _PREDICTING:
            return False
        file = read_gguf(Path(path))
    except InvalidGguf:
        return False
    n_layers = file.integer("nextn_predict_layers") or 0
    has_weights = any(tensor.name.endswith(".nextn.eh_proj.weight") for tensor in file.tensors)
    return has_weights and (n_layers == 1 or architecture in _PREDICTING_BY_SEVERAL)


def _progress_callback(on_progress: Callable[[float], None]) -> Any:
    """Wrap a function for llama.cpp, which calls it for every tensor; it is told of whole percents only."""
    percent = -1

    @native.llama_progress_callback  # type: ignore[untyped-decorator]  # ctypes has no types here
    def tell(fraction: float, _user_data: ctypes.c_void_p) -> bool:
        nonlocal percent
        if int(fraction * 100) > percent:
            percent = int(fraction * 100)
            on_progress(fraction)
        return True

    return tell
