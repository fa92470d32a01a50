"""What a model can do, in the words and the order of the native API."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from actors.errors import InvalidGguf
from registry.engine import CHAT_TEMPLATE, PromptEngine, go_template_of, is_harmony, prompt_engine
from registry.gguf import GgufFile, read_gguf_head
from registry.model import InstalledModel
from registry.templates.jinjascan import scan_jinja

COMPLETION = "completion"
EMBEDDING = "embedding"
TOOLS = "tools"
INSERT = "insert"
THINKING = "thinking"
VISION = "vision"
AUDIO = "audio"

_MUTE = {"nemotron_h_omni"}  # Ollama has no audio for it
_N_PROJECTORS = 256
_GO_ORDER = (TOOLS, INSERT, THINKING)

# What Ollama's built-in parsers declare: (tools, thinking).
_PARSERS = {
    "qwen3": (True, False),
    "qwen3-thinking": (True, True),
    "qwen3-vl-instruct": (True, False),
    "qwen3-vl-thinking": (True, True),
    "qwen3-coder": (True, False),
    "qwen3.5": (True, True),
    "ornith": (True, True),
    "nemotron-3-nano": (True, True),
    "nemotron-3.5-nano": (True, True),
    "glm-4.7": (True, True),
    "glm-ocr": (True, False),
    "deepseek3": (True, True),
    "cogito": (True, True),
    "ministral": (True, False),
    "olmo3": (True, False),
    "olmo3-think": (False, True),
    "gemma4": (True, True),
    "gemma4-no-thinking": (True, False),
    "functiongemma": (True, False),
    "lfm2": (True, False),
    "lfm2-thinking": (True, True),
    "laguna": (True, True),
    "poolside-v1": (True, True),
    "cohere": (True, True),
    "glimmer": (True, True),
    "harmony": (True, True),
}


def capabilities_of(model: InstalledModel, gguf: GgufFile) -> tuple[str, ...]:
    """List what the model can do, as `/api/show` does."""
    found = list(_configured(model))
    if prompt_engine(model, gguf) is PromptEngine.JINJA:
        offer = scan_jinja(gguf.text(CHAT_TEMPLATE))
        found += [TOOLS] * offer.tools + [THINKING] * offer.thinking
        return _once([*found, *_by_metadata(model, gguf), *_by_name(model)])
    return _once([*found, *_by_metadata(model, gguf), *_by_go_template(model), *_by_name(model)])


def listed_capabilities(model: InstalledModel, head: GgufFile) -> tuple[str, ...]:
    """List what the model can do, as `/api/tags` does.

    Only the keys before the tokenizer's are needed; the Jinja template, which comes behind them, is left out.

    Raises:
        InvalidManifest: a text blob is missing.
    """
    return _once([*_configured(model), *_by_metadata(model, head), *_by_go_template(model), *_by_name(model)])


def _configured(model: InstalledModel) -> tuple[str, ...]:
    return model.config.capabilities or ()


def _by_metadata(model: InstalledModel, gguf: GgufFile) -> Iterable[str]:
    yield EMBEDDING if gguf.value("pooling_type") is not None else COMPLETION
    if gguf.value("vision.block_count") is not None or model.projectors:
        yield VISION
    hears = gguf.value("audio.block_count") is not None or any(map(_hears, model.projectors))
    if hears and gguf.architecture not in _MUTE:
        yield AUDIO


@lru_cache(maxsize=_N_PROJECTORS)
def _hears(projector: Path) -> bool:
    """Tell whether a projector, whose path names its content, takes audio; one that cannot be read does not."""
    try:
        head = read_gguf_head(projector)
    except InvalidGguf:
        return False
    kinds = (head.text("projector_type"), head.text("audio.projector_type"))
    return head.value("has_audio_encoder") is True and not any(kind.startswith("gemma3n") for kind in kinds)


def _by_go_template(model: InstalledModel) -> Iterable[str]:
    stored = go_template_of(model)
    return [name for name in _GO_ORDER if stored and name in stored.capabilities]


def _by_name(model: InstalledModel) -> Iterable[str]:
    tools, thinking = _PARSERS.get(model.config.parser or "", (False, False))
    if tools:
        yield TOOLS
    if thinking or is_harmony(model):
        yield THINKING


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
