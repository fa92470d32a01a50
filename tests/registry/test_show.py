"""What `/api/show` and `/api/tags` tell, compared with the recorded replies."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.capabilities import listed_capabilities
from registry.create import CreateRequest, create
from registry.details import listed_details
from registry.modelfile import parse_modelfile
from registry.show import show
from registry.store import Store


def _shown(store: Store, name: str, **wanted: Any) -> dict[str, Any]:
    model = store.resolve(name)
    shown: dict[str, Any] = json.loads(msgspec.json.encode(show(model, store.gguf(model), **wanted)))
    return shown


def _with_root(value: str, store: Store) -> str:
    return value.replace("/STORE", str(store.root))


@pytest.mark.parametrize(
    ("recording", "name"), [("show", "smollm2"), ("show verbose", "tiny-tools"), ("show embed", "minilm")]
)
def test_show_equals_the_recorded_reply(ollama_store: Store, wire: dict[str, Any], recording: str, name: str) -> None:
    """Field by field and in the recorded order; the weights of smollm2 are a stand-in, hence less of its metadata."""
    expected = wire[recording]["json"]
    got = _shown(ollama_store, name, verbose=recording == "show verbose")
    assert list(got) == list(expected)
    for field in ("parameters", "template", "details", "capabilities", "license", "system"):
        assert got.get(field) == expected.get(field)
    assert got["modelfile"] == _with_root(expected["modelfile"], ollama_store)
    if name == "smollm2":
        assert got["model_info"].items() <= expected["model_info"].items()
        return
    cut = {key: value for key, value in expected["model_info"].items() if isinstance(value, list)}
    # The reference rewrote the file: it added this key and sorted the tensors.
    added = {"general.quantization_version": 2}
    assert {key: value for key, value in got["model_info"].items() if key not in cut} | added == {
        key: value for key, value in expected["model_info"].items() if key not in cut
    }
    assert all(got["model_info"][key][:20] == value[:20] for key, value in cut.items())
    assert list(got["model_info"]) == sorted(got["model_info"])
    assert all(tensor in got["tensors"] for tensor in expected["tensors"] if isinstance(tensor, dict))


def test_show_created_models_equal_the_recorded_replies(ollama_store: Store, wire: dict[str, Any]) -> None:
    """Texts, parameters and messages of models made by create."""
    for name in ("create from all", "create from created whole"):
        list(create(ollama_store, msgspec.convert(wire[name]["body"], CreateRequest)))
    for recording, name in (("show created", "zz-a"), ("show child", "zz-b")):
        expected, got = wire[recording]["json"], _shown(ollama_store, name)
        assert list(got) == list(expected)
        for field in ("license", "template", "system", "details", "messages", "capabilities"):
            assert got[field] == expected[field]
        assert got["modelfile"] == _with_root(expected["modelfile"], ollama_store)
        assert sorted(got["parameters"].split("\n")) == sorted(expected["parameters"].split("\n"))


def test_list_details_and_capabilities_equal_the_recorded_ones(ollama_store: Store, wire: dict[str, Any]) -> None:
    """The list's own details, and its capabilities that leave the Jinja template out."""
    for entry in wire["GET /api/tags"]["json"]["models"]:
        model = ollama_store.resolve(entry["name"])
        head = ollama_store.gguf_head(model)
        assert json.loads(msgspec.json.encode(listed_details(model, head))) == entry["details"]
        assert list(listed_capabilities(model, head)) == entry["capabilities"]


def test_show_overrides_are_shown_instead(store: Store, tiny_gguf: Path) -> None:
    """A system text and options of the request appear in the reply, not in the store."""
    digest = store.blobs.add_file(tiny_gguf)
    list(create(store, CreateRequest(model="m", files={"m.gguf": digest}, system="stored", parameters={"top_k": 1})))
    shown = _shown(store, "m", system="asked", options={"top_k": 2, "temperature": 1.0})
    assert shown["system"] == "asked"
    assert shown["parameters"].split("\n") == [f"{'top_k':<30} 2", f"{'temperature':<30} 1"]
    assert "SYSTEM asked" in shown["modelfile"]
    assert store.resolve("m").system == "stored"


def test_show_modelfile_makes_the_same_model_again(store: Store, tiny_gguf: Path) -> None:
    """What show prints parses back to the stored values."""
    digest = store.blobs.add_file(tiny_gguf)
    request = CreateRequest(
        model="m",
        files={"m.gguf": digest},
        system='say "x"\n',
        parameters={"stop": ["a b", " c"], "use_mmap": False},
        messages=[{"role": "user", "content": "two\nlines"}],
        license="MIT",
    )
    list(create(store, request))
    parsed = parse_modelfile(_shown(store, "m")["modelfile"])
    assert parsed.sources == (str(store.blobs.path(digest)),)
    assert (parsed.system, parsed.licenses) == ('say "x"\n', ("MIT",))
    assert parsed.parameters == {"stop": ["a b", " c"], "use_mmap": False}
    assert parsed.messages == (("user", "two\nlines"),)


def test_show_unknown_quantization_is_named_from_the_file(store: Store, write_gguf: Any) -> None:
    """A file that does not say how it is quantised shows as unknown; one that does, by its name."""
    for file_type, name in ((0, "unknown"), (15, "Q4_K_M")):
        digest = store.blobs.add_file(write_gguf(general__file_type=file_type))
        list(create(store, CreateRequest(model="m", files={"m.gguf": digest})))
        assert _shown(store, "m")["details"]["quantization_level"] == name
