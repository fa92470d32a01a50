"""Which engine makes the prompt, and what the model can do with it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.capabilities import capabilities_of
from registry.create import CreateRequest, create
from registry.engine import PromptEngine, prompt_engine
from registry.model import InstalledModel
from registry.store import Store

WriteGguf = Callable[..., Path]

PLAIN_JINJA = "{{ messages[0].content }}"
TOOLS_JINJA = "{% if tools %}{{ tools }}{% endif %}{{ message.tool_calls }}{% if m.role == 'tool' %}{% endif %}"
HALF_TOOLS_JINJA = "{% if tools %}{{ tools }}{% endif %}"
THINKING_JINJA = "<think>{{ messages }}</think>"
PLAIN_GO = "{{ range .Messages }}{{ .Content }}{{ end }}"
HALF_TOOLS_GO = "{{ if .Tools }}{{ .Tools }}{{ end }}{{ .Prompt }}"
TOOLS_GO = '{{ .Tools }}{{ range .Messages }}{{ if eq .Role "tool" }}{{ end }}{{ .ToolCalls }}{{ end }}'
THINKING_GO = "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ end }}"


@dataclass(frozen=True)
class Case:
    """A model's two templates and further fields, and what follows from them."""

    jinja: str
    go: str
    engine: PromptEngine
    capabilities: list[str] | None
    fields: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "case",
    [
        Case("", "", PromptEngine.JINJA, ["completion"]),
        Case("", "{{ .Prompt }}", PromptEngine.JINJA, ["completion"]),
        Case(PLAIN_JINJA, "{{- .Prompt }}", PromptEngine.JINJA, ["completion"]),
        Case(PLAIN_JINJA, "", PromptEngine.JINJA, ["completion"]),
        Case(PLAIN_JINJA, PLAIN_GO, PromptEngine.GO, ["completion"]),
        Case(TOOLS_JINJA, PLAIN_GO, PromptEngine.JINJA, ["tools", "completion"]),
        Case(THINKING_JINJA, PLAIN_GO, PromptEngine.JINJA, ["thinking", "completion"]),
        Case(HALF_TOOLS_JINJA, PLAIN_GO, PromptEngine.JINJA, ["tools", "completion"]),
        Case(TOOLS_JINJA, HALF_TOOLS_GO, PromptEngine.JINJA, ["tools", "completion"]),
        Case(TOOLS_JINJA, TOOLS_GO, PromptEngine.GO, ["completion", "tools"]),
        Case(HALF_TOOLS_JINJA + THINKING_JINJA, TOOLS_GO, PromptEngine.GO, ["completion", "tools"]),
        Case(PLAIN_JINJA, THINKING_GO, PromptEngine.GO, ["completion", "thinking"]),
        Case(PLAIN_JINJA, PLAIN_GO, PromptEngine.JINJA, None, {"renderer": "gemma4", "parser": "gemma4"}),
        Case("", PLAIN_GO, PromptEngine.GO, ["completion"], {"renderer": "gemma4"}),
        Case("", "", PromptEngine.MISSING, ["completion"], {"renderer": "gemma4"}),
        Case(TOOLS_JINJA, PLAIN_GO, PromptEngine.GO, ["completion", "tools"], {"parser": "qwen3"}),
    ],
)
def test_prompt_engine_by_what_the_templates_offer(store: Store, write_gguf: WriteGguf, case: Case) -> None:
    """The stored Go template is used unless the GGUF's Jinja one offers more."""
    extra = {"tokenizer__chat_template": case.jinja} if case.jinja else {}
    digest = store.blobs.add_file(write_gguf(**extra))
    list(create(store, CreateRequest(model="m", files={"m.gguf": digest}, template=case.go, **case.fields)))
    model = _as_pulled(store)
    assert prompt_engine(model, store.gguf(model)) is case.engine
    if case.capabilities is not None:
        assert list(capabilities_of(model, store.gguf(model))) == case.capabilities


def _as_pulled(store: Store) -> InstalledModel:
    """Give the model `m` as if it had come with its template, which nobody here wrote."""
    made = store.resolve("m")
    layers = tuple(msgspec.structs.replace(layer, annotations={}) for layer in made.manifest.layers)
    return dataclasses.replace(made, manifest=msgspec.structs.replace(made.manifest, layers=layers))


def test_prompt_engine_template_that_a_user_wrote_wins(store: Store, write_gguf: WriteGguf) -> None:
    """Over a file, over a model, and in models made from that one; the model's own template only by what it offers."""
    digest = store.blobs.add_file(write_gguf(tokenizer__chat_template=TOOLS_JINJA))
    for request in (
        CreateRequest(model="file", files={"m.gguf": digest}),
        CreateRequest(model="written", files={"m.gguf": digest}, template=PLAIN_GO),
        CreateRequest(model="over", source="file", template=PLAIN_GO),
        CreateRequest(model="heir", source="over", system="S"),
        CreateRequest(model="renderer", files={"m.gguf": digest}, template=PLAIN_GO, renderer="gemma4"),
    ):
        list(create(store, request))
    found = {model.name.model: prompt_engine(model, store.gguf(model)) for model in store.list()}
    assert found.pop("file") is PromptEngine.JINJA
    assert set(found.values()) == {PromptEngine.GO}


def test_prompt_engine_template_that_is_written_again_stays_the_models(store: Store, write_gguf: WriteGguf) -> None:
    """A Modelfile that `show` printed makes the same model again."""
    digest = store.blobs.add_file(write_gguf(tokenizer__chat_template=TOOLS_JINJA))
    list(create(store, CreateRequest(model="m", files={"m.gguf": digest}, template=PLAIN_GO)))
    pulled = _as_pulled(store)
    store.write(pulled.name, pulled.manifest)
    list(create(store, CreateRequest(model="again", source="m", template=PLAIN_GO)))
    again = store.resolve("again")
    assert prompt_engine(again, store.gguf(again)) is PromptEngine.JINJA


def test_prompt_engine_harmony_needs_its_go_template(store: Store, write_gguf: WriteGguf) -> None:
    """A gpt-oss model whose Go template is in harmony form keeps it, and thinks."""
    path = write_gguf(architecture="gptoss", tokenizer__chat_template=TOOLS_JINJA)
    digest = store.blobs.add_file(path)
    request = CreateRequest(model="m", files={"m.gguf": digest}, template="<|start|>{{ .Prompt }}<|end|>")
    list(create(store, request))
    model = store.resolve("m")
    assert prompt_engine(model, store.gguf(model)) is PromptEngine.GO
    assert "thinking" in capabilities_of(model, store.gguf(model))


def test_capabilities_of_other_metadata(store: Store, write_gguf: WriteGguf) -> None:
    """Pooling excludes completion; vision and audio blocks and projectors add up; configured ones come first."""
    pooling = store.blobs.add_file(write_gguf("a.gguf", llama__pooling_type=1))
    seeing = store.blobs.add_file(
        write_gguf("b.gguf", llama__block_count=1, llama__vision__block_count=1, llama__audio__block_count=1)
    )
    info = {"capabilities": ["insert", "vision"]}
    list(create(store, CreateRequest(model="a", files={"a.gguf": pooling})))
    list(create(store, CreateRequest(model="b", files={"b.gguf": seeing}, info=info)))
    found = {model.name.model: capabilities_of(model, store.gguf(model)) for model in store.list()}
    assert found == {"a": ("embedding",), "b": ("insert", "vision", "completion", "audio")}


def test_prompt_engine_template_that_does_not_parse_is_still_a_go_template(store: Store, write_gguf: WriteGguf) -> None:
    """A stored template with open braces is known to be one, and nothing else is known about it."""
    digest = store.blobs.add_file(write_gguf(tokenizer__chat_template=PLAIN_JINJA))
    list(create(store, CreateRequest(model="m", files={"m.gguf": digest}, template=PLAIN_GO)))
    layer = store.resolve("m").manifest.layers[1]
    store.blobs.path(layer.digest).write_text("{{ .Tools")
    model = Store(store.root).resolve("m")
    assert prompt_engine(model, store.gguf(model)) is PromptEngine.GO
    assert capabilities_of(model, store.gguf(model)) == ("completion",)


def test_prompt_engine_setting_wins_over_everything(store: Store, write_gguf: WriteGguf) -> None:
    """Go templates wherever there are any, or never."""
    digest = store.blobs.add_file(write_gguf(tokenizer__chat_template=TOOLS_JINJA))
    list(create(store, CreateRequest(model="m", files={"m.gguf": digest}, template=PLAIN_GO)))
    pulled = _as_pulled(store)
    store.write(pulled.name, pulled.manifest)
    found = {
        setting: prompt_engine(Store(store.root, go_templates=setting).resolve("m"), store.gguf(pulled))
        for setting in (None, True, False)
    }
    assert found == {None: PromptEngine.JINJA, True: PromptEngine.GO, False: PromptEngine.JINJA}


def test_capabilities_projector_that_hears(store: Store, write_gguf: WriteGguf) -> None:
    """A projector sees; one with an audio encoder hears, too, except for the one that Ollama leaves mute."""
    weights = store.blobs.add_file(write_gguf("m.gguf", llama__block_count=1))

    def capabilities(**projector: object) -> tuple[str, ...]:
        made = store.blobs.add_file(
            write_gguf("p.gguf", architecture="clip", clip__has_vision_encoder=True, **projector)
        )
        list(create(store, CreateRequest(model="m", files={"m.gguf": weights, "p.gguf": made})))
        model = store.resolve("m")
        return capabilities_of(model, store.gguf(model))

    assert capabilities() == ("completion", "vision")
    assert capabilities(clip__has_audio_encoder=True) == ("completion", "vision", "audio")
    mute = {"clip__has_audio_encoder": True, "clip__projector_type": "gemma3nv"}
    assert capabilities(**mute) == ("completion", "vision")
