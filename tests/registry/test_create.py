"""Creating models: from files and from models, statuses and manifests as recorded, and every refusal."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.errors import (
    BlobNotFound,
    InvalidDigest,
    InvalidGguf,
    InvalidName,
    InvalidRequest,
    LlamactorError,
    ModelNotFound,
)
from registry.create import CreateRequest, create
from registry.manifests import ADAPTER, PROJECTOR, go_json
from registry.progress import Progress
from registry.store import Store

WriteGguf = Callable[..., Path]
_NO_SUCH = "sha256:" + "0" * 64


def _create(store: Store, **body: Any) -> list[str]:
    request = msgspec.convert({key.rstrip("_"): value for key, value in body.items()}, CreateRequest)
    return [progress.status for progress in create(store, request)]


@pytest.fixture
def base(store: Store, write_gguf: WriteGguf) -> str:
    """Digest of small weights that are installed as `base`."""
    digest = store.blobs.add_file(write_gguf(llama__block_count=2, general__file_type=1))
    _create(store, model="base", files={"model.gguf": digest})
    return digest


def test_create_from_file_keeps_its_bytes_and_describes_it(store: Store, tiny_gguf: Path) -> None:
    """The uploaded blob becomes the only layer, the configuration comes from its header."""
    digest = store.blobs.add_file(tiny_gguf)
    assert _create(store, model="tiny", files={"tiny.gguf": digest}) == [
        "parsing GGUF",
        f"using existing layer {digest}",
        "writing manifest",
        "success",
    ]
    model = store.resolve("tiny")
    assert [layer.digest for layer in model.manifest.layers] == [digest]
    assert (model.config.model_family, model.config.model_type, model.config.file_type) == ("llama", "2.00M", "F16")
    assert model.parent == ""
    mode = (store.manifests / "registry.ollama.ai/library/tiny/latest").stat().st_mode
    assert mode & 0o777 == 0o644


def test_create_from_recorded_model_writes_the_recorded_manifest(
    ollama_store: Store, recorded_store: dict[str, Any]
) -> None:
    """Made again from its Modelfile's values, a model has the very bytes that the reference wrote."""
    ollama_store.delete("pirate")
    ollama_store.delete("ns/pirate:v2")
    statuses = _create(
        ollama_store,
        model="pirate",
        from_="smollm2",
        system="You are\na pirate.",
        parameters={"temperature": 0, "num_predict": 12, "stop": ["END"]},
        messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "arr"}],
        license=["MIT"],
    )
    assert [status.partition(" sha256")[0] for status in statuses] == (
        ["using existing layer"] * 2 + ["creating new layer"] * 4 + ["writing manifest", "success"]
    )
    name = "manifests/registry.ollama.ai/library/pirate/latest"
    assert (ollama_store.root / name).read_text() == recorded_store["manifests"][name]


def test_create_streams_and_digests_equal_the_recorded_ones(ollama_store: Store, wire: dict[str, Any]) -> None:
    """Every status line, and the digests of both manifests, are those of the reference."""
    for pirate in ("pirate", "ns/pirate:v2"):  # made later than the recording
        ollama_store.delete(pirate)
    for name in ("create from all", "create from created whole"):
        exchange = wire[name]
        statuses = _create(ollama_store, **exchange["body"])
        assert statuses[-1] == "success"
        assert statuses == [line["status"] for line in exchange.get("lines", [])] or "json" in exchange
    for entry in wire["tags created"]["json"]["models"]:
        model = ollama_store.resolve(entry["name"])
        assert (model.digest, model.size_bytes) == (entry["digest"], entry["size"])
        assert model.parent == entry["details"]["parent_model"]


def test_create_from_model_replaces_merges_and_appends(store: Store, base: str) -> None:
    """Texts are replaced, parameters merged with the request winning, licences added, messages kept when none come."""
    common = {
        "system": "one",
        "parameters": {"top_k": 1, "temperature": 0.5},
        "license": "MIT",
        "template": "{{ .Prompt }}",
    }
    _create(store, model="mid", from_="base", messages=[{"role": "user", "content": "hi"}], **common)
    _create(store, model="top", from_="mid", system="two", parameters={"top_k": 2}, license=["BSD", "X"], messages=[])
    model = store.resolve("top")
    assert model.system == "two"
    assert model.parameters == {"temperature": 0.5, "top_k": 2}
    assert model.licenses == ("MIT", "BSD", "X")
    assert model.messages == ({"role": "user", "content": "hi"},)
    assert model.template == "{{ .Prompt }}"
    assert model.parent == "mid:latest"
    assert model.load_key == base.removeprefix("sha256:")


def test_create_over_itself_and_another_case_keeps_one_name(store: Store, base: str) -> None:
    """A model may be its own base; the installed spelling of the name stays."""
    _create(store, model="BASE", from_="base", system="new")
    assert [model.name.shortest for model in store.list()] == ["base:latest"]
    assert store.resolve("base").system == "new"
    assert store.blobs.exists(base)


def test_create_source_wins_over_files(store: Store, base: str) -> None:
    """With both, the files are not even looked at."""
    assert _create(store, model="m", from_="base", files={"a.gguf": _NO_SUCH})[-1] == "success"
    assert store.resolve("m").load_key == base.removeprefix("sha256:")


def test_create_with_projector_and_adapter_gives_them_their_layers(store: Store, write_gguf: WriteGguf) -> None:
    """Files are told apart by their metadata, whatever their names."""
    weights = store.blobs.add_file(write_gguf("w.gguf", llama__block_count=1))

    def write_lora_header(name: str) -> Path:
        factors = {"token_embd.weight.lora_a": (4, 8), "token_embd.weight.lora_b": (8, 4)}
        return write_gguf(name, general__type="adapter", adapter__type="lora", tensors=factors)

    vision = store.blobs.add_file(write_gguf("v.gguf", architecture="clip", clip__has_vision_encoder=True))
    lora = store.blobs.add_file(write_lora_header("l.gguf"))
    _create(store, model="m", files={"b.gguf": weights, "a.gguf": vision}, adapters={"l.gguf": lora})
    model = store.resolve("m")
    assert [layer.digest for layer in model.manifest.of_type(PROJECTOR)] == [vision]
    assert [layer.digest for layer in model.manifest.of_type(ADAPTER)] == [lora]
    assert model.config.model_families == ("llama", "clip")
    assert len(model.load_key.split("+")) == 3


@pytest.mark.usefixtures("base")
def test_create_info_overrides_the_configuration(store: Store) -> None:
    """Given fields replace the computed ones, absent ones of the override are emptied."""
    info = {"model_family": "custom", "context_length": 4096.0, "capabilities": ["vision"]}
    _create(store, model="m", from_="base", info=info)
    config = store.resolve("m").config
    assert (config.model_family, config.model_type, config.context_length) == ("custom", "", 4096)
    assert config.capabilities == ("vision",)
    assert b"embedding_length" not in go_json(config)
    for bad, text in (({"model_family": 5}, "must be a string"), ({"context_length": "x"}, "must be a number")):
        with pytest.raises(InvalidRequest, match=text):
            _create(store, model="m", from_="base", info=bad)
    with pytest.raises(InvalidRequest, match="must be a non-negative integer"):
        _create(store, model="m", from_="base", info={"embedding_length": 1.5})


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        ({"model": ""}, InvalidName, "invalid model name"),
        ({"model": "../x", "from_": "base"}, InvalidName, "invalid model name"),
        ({"model": "m", "files": {"../a.gguf": _NO_SUCH}}, InvalidRequest, "file path must be relative"),
        ({"model": "m", "files": {"/a.gguf": _NO_SUCH}}, InvalidRequest, "file path must be relative"),
        ({"model": "m", "files": {"a//b.gguf": _NO_SUCH}}, InvalidRequest, "file path must be relative"),
        ({"model": "m", "files": {"a.gguf": ""}}, InvalidDigest, "invalid digest format"),
        ({"model": "m"}, InvalidRequest, "neither 'from' or 'files' was specified"),
        ({"model": "m", "from_": "a b"}, InvalidName, "invalid model name"),
        ({"model": "m", "from_": "nope"}, ModelNotFound, "model 'nope:latest' not found"),
        ({"model": "m", "files": {}}, InvalidRequest, "no files provided"),
        ({"model": "m", "files": {"a.gguf": "nonsense"}}, InvalidDigest, "invalid digest format"),
        ({"model": "m", "files": {"a.gguf": _NO_SUCH}}, BlobNotFound, "not found: upload it"),
        ({"model": "m", "files": {"a.safetensors": _NO_SUCH}}, BlobNotFound, "upload it"),
        ({"model": "m", "from_": "base", "template": "{{ .X"}, InvalidRequest, ":1: unclosed action"),
        ({"model": "m", "from_": "base", "adapters": {"a": _NO_SUCH}}, BlobNotFound, "not found"),
        (
            {"model": "m", "from_": "base", "adapters": {"a": _NO_SUCH, "b": _NO_SUCH}},
            InvalidRequest,
            "only one adapter",
        ),
        ({"model": "m", "from_": "base", "quantize": "q9_9"}, InvalidRequest, "unsupported quantization type Q9_9 - "),
        ({"model": "m", "from_": "base", "quantize": "iq2_xxs"}, InvalidRequest, "needs an importance matrix"),
        ({"model": "m", "from_": "base", "draft_files": {"d.gguf": _NO_SUCH}}, BlobNotFound, "upload it"),
        ({"model": "m", "from_": "base", "draft_quantize": "q8_0"}, InvalidRequest, "requires a DRAFT model"),
        ({"model": "m", "from_": "base", "remote_host": "https://x"}, InvalidRequest, "remote_host"),
    ],
)
def test_create_bad_request_raises_and_makes_nothing(
    store: Store, base: str, body: dict[str, Any], error: type[LlamactorError], text: str
) -> None:
    """Each refusal has its own error and leaves the store as it was."""
    with pytest.raises(error) as caught:
        _create(store, **body)
    assert text in caught.value.message
    assert [model.name.shortest for model in store.list()] == ["base:latest"]
    assert store.blobs.exists(base)


def test_create_same_quantization_changes_nothing(store: Store, base: str) -> None:
    """Asking for what the file already is succeeds."""
    assert _create(store, model="m", from_="base", quantize="f16")[-1] == "success"
    assert store.resolve("m").load_key == base.removeprefix("sha256:")


def test_create_from_bad_files_names_what_is_wrong(store: Store, write_gguf: WriteGguf, base: str) -> None:
    """No GGUF, a cut one, a split one, a lone projector and a strange name each have their error."""
    path = write_gguf("cut.gguf")
    text, _ = store.blobs.add(b"not a model at all")
    cut, _ = store.blobs.add(path.read_bytes()[:-40])
    split = store.blobs.add_file(write_gguf("s-00001-of-00002.gguf", split__count=2))
    projector = store.blobs.add_file(write_gguf("p.gguf", general__type="mmproj"))
    with pytest.raises(InvalidGguf, match="supplied file was not in GGUF format"):
        _create(store, model="m", files={"a.gguf": text})
    with pytest.raises(InvalidRequest, match="unknown type"):
        _create(store, model="m", files={"a.txt": text})
    with pytest.raises(InvalidGguf, match="cut short"):
        _create(store, model="m", files={"a.gguf": cut})
    with pytest.raises(InvalidGguf, match="split over 2 files"):
        _create(store, model="m", files={"a.gguf": split})
    with pytest.raises(InvalidRequest, match="no model weights"):
        _create(store, model="m", files={"a.gguf": projector})
    with pytest.raises(InvalidRequest, match="no LoRA adapter"):
        _create(store, model="m", from_="base", adapters={"a.gguf": base})
    assert [model.name.shortest for model in store.list()] == ["base:latest"]


def test_create_abandoned_halfway_changes_nothing(store: Store, base: str) -> None:
    """A caller that stops reading the progress leaves the old model in place."""
    progress = create(store, CreateRequest(model="base", source="base", system="new"))
    next(progress)
    progress.close()
    assert store.resolve("base").system == ""
    assert hashlib.sha256(b"new").hexdigest() not in store.resolve("base").load_key
    assert store.blobs.exists(base)


@pytest.mark.parametrize(
    ("architecture", "engine", "parameters"),
    [("gemma4", "gemma4", {"stop": ["<turn|>"]}), ("nemotron_h_moe", "nemotron-3-nano", {}), ("llama", None, {})],
)
def test_create_import_gets_the_parts_of_its_architecture(
    store: Store, write_gguf: WriteGguf, architecture: str, engine: str | None, parameters: dict[str, Any]
) -> None:
    """Some architectures name a renderer and a parser, and stop words, unless the request does."""
    digest = store.blobs.add_file(write_gguf(architecture=architecture))
    _create(store, model="m", files={"m.gguf": digest})
    model = store.resolve("m")
    assert (model.config.renderer or None, model.config.parser or None) == (engine, engine)
    assert model.parameters == parameters
    _create(store, model="m", files={"m.gguf": digest}, parser="mine", parameters={"stop": ["x"]})
    assert (store.resolve("m").config.parser, store.resolve("m").parameters) == ("mine", {"stop": ["x"]})


def test_create_weights_that_vanish_before_the_manifest_raise(store: Store, base: str) -> None:
    """Another process may delete the base meanwhile: the model is not written without its weights."""
    progress = create(store, CreateRequest(model="m", source="base", system="x"))
    next(progress)
    store.blobs.path(base).unlink()
    with pytest.raises(BlobNotFound):
        list(progress)
    assert [model.name.shortest for model in store.list()] == ["base:latest"]


def test_create_texts_that_vanish_before_the_manifest_are_stored_again(store: Store, base: str) -> None:
    """Another process may remove a shared text meanwhile: it is written once more under the lock."""
    progress = create(store, CreateRequest(model="m", source="base", system="shared"))
    assert base in next(progress).status
    text = next(progress).status.rpartition(" ")[2]
    store.blobs.path(text).unlink()
    list(progress)
    assert store.resolve("m").system == "shared"


def test_create_from_a_missing_model_gets_it_first(store: Store, tiny_gguf: Path) -> None:
    """The lines of the pull come first, without its `success`; a pull that fails is this failure, too."""

    def obtain(name: str) -> Iterator[Progress]:
        yield Progress(status="pulling manifest")
        digest = store.blobs.add_file(tiny_gguf)
        list(create(store, CreateRequest(model=name, files={"tiny.gguf": digest})))
        yield Progress(status="success")

    def refuse(name: str) -> Iterator[Progress]:
        raise ModelNotFound(name)

    steps = create(store, CreateRequest(model="m", source="far", system="S"), obtain=obtain)
    assert [step.status for step in steps][:1] == ["pulling manifest"]
    assert store.resolve("m").parent == "far:latest"
    with pytest.raises(ModelNotFound):
        list(create(store, CreateRequest(model="m", source="further"), obtain=refuse))
