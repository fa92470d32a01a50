"""The store: finding, listing, copying, deleting and pruning models."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidManifest, InvalidName, ModelNotFound, StoreUnwritable
from registry.create import CreateRequest, create
from registry.store import Store

REPOSITORY = Path(__file__).parents[2]


def _make(store: Store, name: str, weights: Path, **fields: Any) -> None:
    digest = store.blobs.add_file(weights)
    list(create(store, CreateRequest(model=name, files={"model.gguf": digest}, **fields)))


def test_list_empty_store_gives_nothing(store: Store) -> None:
    """A store that does not exist is an empty one."""
    assert store.list() == ()


def test_list_newest_first_and_broken_ones_left_out(
    store: Store, tiny_gguf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Corrupt manifests and illegal names are logged and skipped, other depths are not looked at."""
    _make(store, "old", tiny_gguf)
    _make(store, "new", tiny_gguf, system="x")
    os.utime(store.manifests / "registry.ollama.ai/library/old/latest", (1000, 1000))
    (store.manifests / "registry.ollama.ai/library/broken").mkdir()
    (store.manifests / "registry.ollama.ai/library/broken/latest").write_text('{"schemaVersion":2')
    (store.manifests / "registry.ollama.ai/library/odd name").mkdir()
    (store.manifests / "registry.ollama.ai/library/odd name/latest").write_text("{}")
    (store.manifests / "registry.ollama.ai/library/stray").write_text("{}")
    (store.manifests / "registry.ollama.ai/library/new/folder").mkdir()
    with caplog.at_level(logging.WARNING):
        assert [model.name.shortest for model in store.list()] == ["new:latest", "old:latest"]
    assert "skipping broken:latest" in caplog.text
    assert "odd name" in caplog.text


def test_resolve_ignores_case_and_prefers_the_exact_spelling(store: Store, tiny_gguf: Path) -> None:
    """Any case finds the model; storage keeps the case it was made with."""
    _make(store, "Ns/Model:Tag", tiny_gguf)
    assert store.resolve("ns/MODEL:tag").name.shortest == "Ns/Model:Tag"
    _make(store, "ns/model:tag", tiny_gguf)
    assert [model.name.shortest for model in store.list()] == ["Ns/Model:Tag"]


@pytest.mark.parametrize("text", ["nope", "registry.ollama.ai/library/nope:latest"])
def test_resolve_unknown_model_raises_with_shortest_name(store: Store, text: str) -> None:
    """The error names the model as people see it."""
    with pytest.raises(ModelNotFound, match=r"^model 'nope:latest' not found$"):
        store.resolve(text)


def test_resolve_bad_or_too_long_name_raises(store: Store) -> None:
    """No name, and a legal name that no file system can hold."""
    with pytest.raises(InvalidName):
        store.resolve("../x")
    with pytest.raises(ModelNotFound):
        store.resolve("h" * 300 + "/ns/m")
    with pytest.raises(ModelNotFound):
        store.delete("h" * 300 + "/ns/m")


def test_resolve_missing_blob_names_model_and_remedy(store: Store, tiny_gguf: Path) -> None:
    """Weights or texts that are gone give a clear error."""
    _make(store, "m", tiny_gguf, system="be kind")
    model = store.resolve("m")
    model.weights_path.unlink()
    with pytest.raises(InvalidManifest, match=r"m:latest is incomplete.*create or pull"):
        store.resolve("m")
    with pytest.raises(InvalidManifest, match="incomplete"):
        store.gguf(model)
    fresh = Store(store.root)
    fresh.blobs.path(model.manifest.layers[1].digest).unlink()
    with pytest.raises(InvalidManifest, match="incomplete"):
        fresh.resolve("m")


def test_resolve_corrupt_texts_raise(store: Store, tiny_gguf: Path) -> None:
    """A parameters blob that is no JSON object is named."""
    _make(store, "m", tiny_gguf, parameters={"top_k": 1})
    store.blobs.path(store.resolve("m").manifest.layers[1].digest).write_text("[1]")
    with pytest.raises(InvalidManifest, match="is corrupt"):
        Store(store.root).resolve("m")


def test_resolve_sees_changes_of_other_processes(store: Store, tiny_gguf: Path) -> None:
    """The cache follows the files: a manifest replaced by another store object is read again."""
    _make(store, "m", tiny_gguf, system="one")
    assert store.resolve("m").system == "one"
    _make(Store(store.root), "m", tiny_gguf, system="two")
    assert store.resolve("m").system == "two"
    Store(store.root).delete("m")
    with pytest.raises(ModelNotFound):
        store.resolve("m")


def test_resolve_unchanged_model_is_read_once(store: Store, tiny_gguf: Path) -> None:
    """Warm, the same object comes back, and so does its GGUF header."""
    _make(store, "m", tiny_gguf)
    model = store.resolve("m")
    assert store.resolve("m") is model
    assert store.gguf(model) is store.gguf(store.resolve("m"))
    assert store.gguf_head(model).architecture == "llama"


def test_copy_gives_a_second_name_to_the_same_bytes(store: Store, tiny_gguf: Path) -> None:
    """Only the manifest is copied; a name that differs in case replaces the old one."""
    _make(store, "m", tiny_gguf)
    store.copy("M", "ns/copy:v2")
    assert store.resolve("ns/copy:v2").digest == store.resolve("m").digest
    store.copy("m", "NS/Copy:v2")
    assert len(store.list()) == 2


def test_copy_missing_source_or_bad_name_raises(store: Store) -> None:
    """Nothing is made."""
    with pytest.raises(ModelNotFound) as caught:
        store.copy("nope", "x")
    assert caught.value.fields == {"model": "nope"}
    with pytest.raises(InvalidName):
        store.copy("nope", "../x")


def test_delete_keeps_blobs_that_another_model_uses(store: Store, tiny_gguf: Path) -> None:
    """Shared weights stay until the last name goes; folders go when they are empty."""
    _make(store, "one", tiny_gguf, system="first")
    _make(store, "ns/two", tiny_gguf, system="second")
    weights, system = store.resolve("one").weights_path, store.resolve("one").manifest.layers[1]
    store.delete("ONE")
    assert weights.exists()
    assert not store.blobs.exists(system.digest)
    assert not (store.manifests / "registry.ollama.ai/library").exists()
    store.delete("ns/two")
    assert not any(store.blobs.folder.iterdir())
    assert not any(store.manifests.iterdir())


def test_delete_missing_model_raises_with_name_as_given(store: Store) -> None:
    """The error repeats what the caller wrote."""
    with pytest.raises(ModelNotFound, match=r"^model 'nope' not found$"):
        store.delete("nope")


def test_delete_damaged_model_removes_its_manifest(store: Store, tiny_gguf: Path) -> None:
    """A corrupt manifest can be deleted; while another one is corrupt no blob is removed."""
    _make(store, "good", tiny_gguf)
    _make(store, "other", tiny_gguf, system="x")
    damaged = store.manifests / "registry.ollama.ai/library/good/latest"
    damaged.write_text("{")
    store.delete("other")
    assert len(list(store.blobs.folder.iterdir())) == 3
    store.delete("good")
    assert not damaged.exists()


def test_prune_removes_what_no_manifest_needs_after_an_hour(store: Store, tiny_gguf: Path) -> None:
    """Old unreferenced blobs, remains and empty folders go; young ones and used ones stay."""
    _make(store, "m", tiny_gguf)
    used = {path.name for path in store.blobs.folder.iterdir()}
    old, _ = store.blobs.add(b"old")
    young, _ = store.blobs.add(b"young")
    remains = store.blobs.folder / "sha256-abc-partial"
    remains.write_bytes(b"")
    scratch = store.manifests / ".incoming-x"
    scratch.write_bytes(b"")
    (store.manifests / "host/empty/folder").mkdir(parents=True)
    for path in (*store.blobs.folder.iterdir(), scratch):
        if path != store.blobs.path(young):
            os.utime(path, (1, 1))
    Store(store.root, no_prune=True).prune()
    assert store.blobs.exists(old)
    store.prune()
    assert {path.name for path in store.blobs.folder.iterdir()} == used | {store.blobs.path(young).name}
    assert sorted(path.name for path in store.manifests.iterdir()) == ["registry.ollama.ai"]


def test_prune_with_a_corrupt_manifest_removes_nothing(store: Store, tiny_gguf: Path) -> None:
    """What the corrupt manifest needs is unknown, so everything stays."""
    _make(store, "m", tiny_gguf)
    (store.manifests / "registry.ollama.ai/library/m/latest").write_text("{")
    for path in store.blobs.folder.iterdir():
        os.utime(path, (1, 1))
    store.prune()
    assert len(list(store.blobs.folder.iterdir())) == 2


def test_prune_renames_old_blob_names(store: Store) -> None:
    """Blobs that were named with a colon get their dash."""
    digest, _ = store.blobs.add(b"x")
    path = store.blobs.path(digest)
    path.rename(path.with_name(digest))
    store.prune()
    assert store.blobs.exists(digest)


def test_replacing_a_model_removes_what_only_the_old_one_used(store: Store, tiny_gguf: Path) -> None:
    """Unless pruning is off, a second create leaves no orphans."""
    _make(store, "m", tiny_gguf, system="first")
    old = store.resolve("m").manifest.layers[1].digest
    _make(store, "m", tiny_gguf, system="second")
    assert not store.blobs.exists(old)


def test_without_pruning_replaced_and_copied_over_models_leave_their_blobs(store: Store, tiny_gguf: Path) -> None:
    """`OLLAMA_NOPRUNE` keeps what only the old model used; deleting still removes, as in Ollama."""
    kept = Store(store.root, no_prune=True)
    _make(kept, "m", tiny_gguf, system="first")
    first = kept.resolve("m").manifest.layers[1].digest
    _make(kept, "m", tiny_gguf, system="second")
    second = kept.resolve("m").manifest.layers[1].digest
    _make(kept, "n", tiny_gguf, system="third")
    kept.copy("n", "m")
    assert kept.blobs.exists(first)
    assert kept.blobs.exists(second)
    third = kept.resolve("n").manifest.layers[1].digest
    kept.delete("n")
    kept.delete("m")
    assert not kept.blobs.exists(third)


def test_check_writable_leaves_no_trace_or_raises(store: Store, tmp_path: Path) -> None:
    """A good store passes and stays empty; one under a file is refused with its path."""
    store.check_writable()
    assert store.list() == ()
    assert not any(store.manifests.iterdir())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnwritable, match="cannot write to the model store"):
        Store(tmp_path / "file" / "models").check_writable()


@pytest.mark.processes
def test_two_processes_changing_one_store_leave_it_whole(store: Store, write_gguf: Any) -> None:
    """Creating, deleting and pruning names that share blobs, twice at once, never breaks a model."""
    weights = write_gguf()
    digest = store.blobs.add_file(weights)
    list(create(store, CreateRequest(model="base", files={"a.gguf": digest})))
    program = (
        "import sys, pathlib\n"
        "from registry.store import Store\n"
        "from registry.create import CreateRequest, create\n"
        "store, me = Store(pathlib.Path(sys.argv[1])), sys.argv[2]\n"
        "for number in range(40):\n"
        "    request = CreateRequest(model=f'{me}/m', source='base', system=f'text {number % 3}')\n"
        "    list(create(store, request))\n"
        "    assert store.resolve(f'{me}/m').system == f'text {number % 3}'\n"
        "    if number % 2: store.delete(f'{me}/m')\n"
        "    store.prune()\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", program, store.root, me], cwd=REPOSITORY) for me in ("a", "b")]
    assert [child.wait(timeout=120) for child in children] == [0, 0]
    assert [model.name.shortest for model in store.list()] == ["base:latest"]
    assert store.resolve("base").size_bytes > 0
    assert len(list(store.blobs.folder.iterdir())) == 2


def test_ollama_store_reads_as_recorded(ollama_store: Store, wire: dict[str, Any]) -> None:
    """A store that the reference wrote lists with the recorded digests, sizes and details."""
    found = {model.name.shortest: model for model in ollama_store.list()}
    assert set(found) == {
        "127.0.0.1:5000/team/smol:latest",
        "minilm:latest",
        "pirate:latest",
        "smollm2:latest",
        "tiny-tools:latest",
        "ns/pirate:v2",
    }
    for entry in wire["GET /api/tags"]["json"]["models"]:
        model = found[entry["name"]]
        assert (model.digest, model.size_bytes) == (entry["digest"], entry["size"])
    pirate = ollama_store.resolve("pirate")
    assert pirate.parameters == {"num_predict": 12, "stop": ["END"], "temperature": 0}
    assert pirate.messages == ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "arr"})
    assert pirate.licenses == ("MIT",)
    assert pirate.parent == "smollm2:latest"


def test_modified_times_are_local_and_exact(store: Store, tiny_gguf: Path) -> None:
    """The mtime is given with its zone and all its digits."""
    _make(store, "m", tiny_gguf)
    os.utime(store.manifests / "registry.ollama.ai/library/m/latest", ns=(0, 1_700_000_000_123_456_700))
    model = store.resolve("m")
    assert model.modified_at.timestamp() == 1_700_000_000
    local = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(1_700_000_000))
    assert model.modified_rfc3339.startswith(f"{local}.1234567")
