"""Which engine makes a model's prompt.

Ollama's order is: a built-in renderer named by the configuration; the stored Go template if the model needs it (a
parser, harmony, or because the GGUF's Jinja template offers less); the Jinja template; ChatML.

Two deliberate differences. A renderer follows its vendor's Jinja template, so that template is used when the GGUF has
it. And a Go template that is nothing but `{{ .Prompt }}` counts as none: `ollama show --modelfile` writes that line for
models without a template, so it comes back in models made from such a file.
"""

import enum

from actors.errors import InvalidRequest
from registry.gguf import GgufFile
from registry.model import InstalledModel
from registry.templates.goscan import GoTemplate, scan_go_template
from registry.templates.jinjascan import JinjaOffer, scan_jinja

CHAT_TEMPLATE = "tokenizer.chat_template"
_HARMONY = {"gptoss", "gpt-oss"}


class PromptEngine(enum.Enum):
    """What turns messages into a prompt."""

    JINJA = "jinja"
    """The GGUF's Jinja template, or the runner's own for models without any."""
    GO = "go"
    """The stored Go template is needed."""


def prompt_engine(model: InstalledModel, gguf: GgufFile) -> PromptEngine:
    """Choose the engine for a model."""
    jinja = scan_jinja(gguf.text(CHAT_TEMPLATE))
    has_jinja = bool(gguf.text(CHAT_TEMPLATE))
    if model.config.renderer:
        return PromptEngine.JINJA if has_jinja else PromptEngine.GO
    stored = go_template_of(model)
    if stored is None:
        return PromptEngine.JINJA
    harmony = is_harmony(model) and "<|start|>" in stored.text and "<|end|>" in stored.text
    if model.config.parser or harmony:
        return PromptEngine.GO
    return PromptEngine.JINJA if has_jinja and _prefers_jinja(stored, jinja) else PromptEngine.GO


def go_template_of(model: InstalledModel) -> GoTemplate | None:
    """Give the stored Go template; None when there is none, or only the bare one.

    A template that does not even scan is given with nothing known about it.
    """
    if model.template is None:
        return None
    try:
        scanned = scan_go_template(model.template)
    except InvalidRequest:
        return GoTemplate(frozenset(), frozenset(), model.template, None)
    return None if scanned.is_bare else scanned


def is_harmony(model: InstalledModel) -> bool:
    """Tell whether the model is of the gpt-oss family."""
    return model.config.model_family in _HARMONY


def _prefers_jinja(stored: GoTemplate, jinja: JinjaOffer) -> bool:
    ours, theirs = jinja.capabilities, stored.capabilities
    if len(ours) > len(theirs):
        return jinja.round_trip or not stored.round_trip
    return ours == theirs and "tools" in ours and jinja.round_trip and not stored.round_trip
