"""A model's vocabulary as llguidance takes it: the bytes of each token, and llama.cpp's own tokenizer behind them."""

import ctypes
from collections.abc import Sequence

from llguidance import LLTokenizer

from runners.llama.binding import native
from runners.llama.model import Model

_CONTROL = b"\xff"
"""In front of a token's bytes: it is no text (llguidance's convention)."""


def llguidance_tokenizer(model: Model, pieces: Sequence[bytes]) -> LLTokenizer:
    """Make the table; takes some 0.1 s for 50,000 tokens. It refers to the model, which must outlive its use."""
    tokens = [_CONTROL + piece if model.is_control(token) else piece for token, piece in enumerate(pieces)]
    tokenize = ctypes.cast(native._lib.llama_tokenize, ctypes.c_void_p).value  # noqa: SLF001  # its address, for llguidance's own calls
    return LLTokenizer.from_llamacpp(  # type: ignore[attr-defined, no-any-return]  # its stubs leave this out
        tokens=tokens,
        vocab_ptr=model.vocab,
        tokenize_fptr=tokenize,
        eos_token=list(model.ends),
        slices=LLTokenizer.json_slices(),
    )
