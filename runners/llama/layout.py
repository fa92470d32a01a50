"""How the KV cache lies in memory: its types, and whether llama.cpp's flash attention works on it.

Which is quickest differs by processor. Milliseconds per step of one sequence (SmolLM2-135M Q4_1, two cores, medians of
one run on each machine), and seconds for a prompt. Intel, with AVX-512:

| cached tokens | f16, flash | f16 keys, bf16 values, flash | f16, no flash |
|---|---|---|---|
| 40 | 11.0 | 10.4 | 11.9 |
| 500 | 18.5 (1.5 s) | 13.1 (1.75 s) | 12.7 (1.65 s) |
| 1,500 | 28 (5.0 s) | 19 (7.7 s) | 15.6 (5.3 s) |

AMD, with AVX-512 and our matrix kernels, which Intel's figures are without (our attention kernel came later: with it,
f16 and flash attention take 3.7 ms at 600 and 4.2 at 1,500 cached tokens):

| cached tokens | f16, flash | f16 keys, bf16 values, flash | f16, no flash |
|---|---|---|---|
| 40 | 3.0 | 3.2 | 3.6 |
| 450 | 4.2 (0.35 s) | 5.1 (0.54 s) | 4.3 (0.35 s) |
| 1,500 | 6.7 (1.7 s) | 9.5 (3.7 s) | 6.9 (1.8 s) |

So on Intel a cache of few tokens takes bf16 values, which flash attention adds up in f32, and a longer one goes
without; elsewhere it is llama.cpp's own choice, flash attention over f16.
"""

import dataclasses
import functools
from pathlib import Path

from actors.messages.model import LoadPlan
from runners.llama.binding import native
from runners.llama.model import Model

SHORT_CTX = 512
"""Tokens per slot up to which the layout for short caches pays."""
_MOST_SCORES_BYTES = 512 * 1024 * 1024
"""Without flash attention the scores of a whole batch over the whole cache are held at once, in f32."""
_FLASH_AUTO, _FLASH_OFF = -1, 0  # enum llama_flash_attn_type
_F16, _BF16 = 1, 30  # enum ggml_type
_TYPES = {
    "f32": 0,
    "f16": _F16,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": _BF16,
}  # enum ggml_type


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Types of the cache (enum ggml_type) and flash attention (enum llama_flash_attn_type)."""

    flash_attention: int
    key_type: int
    value_type: int

    @property
    def transposes_values(self) -> bool:
        """True iff the values of one dimension lie side by side."""
        return self.flash_attention == _FLASH_OFF


LLAMA_CPPS = Layout(_FLASH_AUTO, _F16, _F16)
SHORT = Layout(_FLASH_AUTO, _F16, _BF16)
LONG = Layout(_FLASH_OFF, _F16, _F16)


def layout_for(model: Model, plan: LoadPlan, *, num_ctx: int) -> Layout:
    """Choose the layout of a cache of `num_ctx` tokens per slot.

    All layouts of a model can be converted into each other, so what cannot be gets llama.cpp's own throughout. What the
    settings name is taken as it is, and at every length.
    """
    if plan.kv_cache_type is not None or plan.flash_attention is not None:
        return chosen_layout(plan)
    if plan.n_gpu_layers or not model.has_plain_cells:
        return LLAMA_CPPS
    if plan.num_ctx * plan.n_batch * native.llama_model_n_head(model.handle) * 4 > _MOST_SCORES_BYTES:
        return LLAMA_CPPS
    return quickest_layout(num_ctx)


def quickest_layout(num_ctx: int) -> Layout:
    """Give the layout that is quickest on this processor, as far as that was measured."""
    if _processor_vendor() != "GenuineIntel":
        return LLAMA_CPPS
    return SHORT if num_ctx <= SHORT_CTX else LONG


def chosen_layout(plan: LoadPlan) -> Layout:
    """Give the layout that the settings name, and llama.cpp's own for what they leave open."""
    kind = _TYPES[plan.kv_cache_type or "f16"]
    flash_attention = _FLASH_AUTO if plan.flash_attention is None else int(plan.flash_attention)
    return Layout(flash_attention, kind, kind)


def layout_remedy(plan: LoadPlan) -> str:
    """Give what to try when llama.cpp has refused a context with the layout that the settings name."""
    if plan.kv_cache_type is None:
        return ""
    return f"; it may work without OLLAMA_KV_CACHE_TYPE={plan.kv_cache_type}"


@functools.cache
def _processor_vendor() -> str:
    """Give the vendor that an x86 processor names, empty where none does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")
