"""Whether a file is a LoRA adapter for a model."""

from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidGguf
from registry.adapters import check_adapter
from registry.gguf import read_gguf
from tests.registry.conftest import WriteGguf

LORA = {"general__type": "adapter", "adapter__type": "lora"}
FACTORS = {"token_embd.weight.lora_a": (4, 8), "token_embd.weight.lora_b": (8, 4)}


def test_check_adapter_for_its_model_passes(write_gguf: WriteGguf) -> None:
    """Factors of tensors that the model has."""
    base, adapter = write_gguf("base.gguf"), write_gguf("lora.gguf", tensors=FACTORS, **LORA)
    check_adapter(read_gguf(adapter), read_gguf(base), name="x")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"general__type": "model"}, "x is no LoRA adapter"),
        ({"adapter__type": "vector"}, "x is no LoRA adapter"),
        ({"architecture": "gemma"}, "made for gemma models, not for llama"),
        ({"tensors": {"token_embd.weight": (4, 8)}}, "no LoRA factor"),
        ({"tensors": {"blk.7.attn_q.weight.lora_a": (4, 8)}}, "which the model does not have"),
    ],
)
def test_check_adapter_that_does_not_fit_tells_why(write_gguf: WriteGguf, change: dict[str, Any], says: str) -> None:
    """No adapter, another architecture, other tensors."""
    base: Path = write_gguf("base.gguf")
    adapter = write_gguf("lora.gguf", **({"tensors": FACTORS, **LORA} | change))
    with pytest.raises(InvalidGguf, match=says):
        check_adapter(read_gguf(adapter), read_gguf(base), name="x")
