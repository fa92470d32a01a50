"""Which engine makes a model's prompt.

Ollama's order is: a built-in renderer named by the configuration; the stored Go template if the model needs it (a
parser, harmony, or because the GGUF's Jinja template offers less); the Jinja template; ChatML.

Three deliberate differences. A TEMPLATE that a user wrote always wins; the order holds only for those that came with a
model. A renderer follows its vendor's Jinja template, so that template is used when the GGUF has it; none is built in.
And a Go template that is nothing but `{{ .Prompt }}` counts as none: `ollama show --modelfile` writes that line for
models without a template, so it comes back in models made from such a file.
"""

import enum

from actors.errors import InvalidRequest
from registry.gguf import GgufFile
from registry.manifests import ModelConfig
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
    """The stored Go template."""
    MISSING = "missing"
    """A renderer that is named but not here; the model brings no template."""


def prompt_engine(model: InstalledModel, gguf: GgufFile) -> PromptEngine:
    """Choose the engine for a model."""
    if model.go_templates is False:
        return PromptEngine.JINJA
    stored = go_template_of(model)
    if stored is not None and (model.template_is_written or model.go_templates):
        return PromptEngine.GO
    return engine_by_offers(model.config, stored, gguf)


def engine_by_offers(config: ModelConfig, stored: GoTemplate | None, gguf: GgufFile) -> PromptEngine:
    """Choose for a template that nobody here wrote: by the configuration, and by what the two templates offer."""
    jinja = scan_jinja(gguf.text(CHAT_TEMPLATE))
    has_jinja = bool(gguf.text(CHAT_TEMPLATE))
    if config.renderer:
        return PromptEngine.JINJA if has_jinja else PromptEngine.GO if stored else PromptEngine.MISSING
    if stored is None:
        return PromptEngine.JINJA
    harmony = config.model_family in _HARMONY and "<|start|>" in stored.text and "<|end|>" in stored.text
    if config.parser or harmony:
        return PromptEngine.GO
    return PromptEngine.JINJA if has_jinja and _prefers_jinja(stored, jinja) else PromptEngine.GO


def go_template_of(model: InstalledModel) -> GoTemplate | None:
    """Give the stored Go template; None when there is none, or only the bare one."""
    return None if model.template is None else scanned(model.template)


def scanned(text: str) -> GoTemplate | None:
    """Scan a template: None for the bare one; of one that does not parse, nothing is known."""
    try:
        found = scan_go_template(text)
    except InvalidRequest:
        return GoTemplate(frozenset(), frozenset(), text, None)
    return None if found.is_bare else found


def is_harmony(model: InstalledModel) -> bool:
    """Tell whether the model is of the gpt-oss family."""
    return model.config.model_family in _HARMONY


def _prefers_jinja(stored: GoTemplate, jinja: JinjaOffer) -> bool:
    ours, theirs = jinja.capabilities, stored.capabilities
    if len(ours) > len(theirs):
        return jinja.round_trip or not stored.round_trip
    return ours == theirs and "tools" in ours and jinja.round_trip and not stored.round_trip
