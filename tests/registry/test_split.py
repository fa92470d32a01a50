"""Shards of one model joined to the file that was split."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from actors.errors import InvalidGguf
from registry.create import CreateRequest, create
from registry.gguf import read_gguf
from registry.manifests import CONFIG, WEIGHTS, Layer, Manifest
from registry.split import join, joined_layers
from registry.store import Store

ROWS = {"token_embd.weight": 3, "blk.0.attn_q.weight": 5, "output.weight": 7}


def write_shards(folder: Path, *, count: int = 3, name: str = "m") -> list[Path]:
    """Write a model over files, as llama.cpp splits it: the metadata in the first, one tensor in each."""
    paths = []
    for number, (tensor, n_rows) in enumerate(list(ROWS.items())[:count]):
        path = folder / f"{name}-{number + 1:05}-of-{count:05}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        if number == 0:
            writer.add_block_count(1)
            writer.add_array("tokenizer.ggml.tokens", [f"token {index}" for index in range(2000)])
            writer.add_float32("llama.rope.freq_base", 0.5)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", count)
        writer.add_tensor(tensor, np.arange(n_rows * 5, dtype=np.float32).reshape(n_rows, 5) + number)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return paths


def _drain(store: Store, digests: list[str]) -> str:
    steps = join(store.blobs, tuple(digests))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return str(end.value)


def test_joined_shards_hold_all_tensors_and_the_first_ones_metadata(store: Store, tmp_path: Path) -> None:
    """Whatever the order they are given in; a foreign reader finds every value where it was."""
    digests = [store.blobs.add_file(path) for path in write_shards(tmp_path)]
    joined = store.blobs.path(_drain(store, digests[::-1]))
    header = read_gguf(joined)
    assert [tensor.name for tensor in header.tensors] == list(ROWS)
    assert header.value("block_count") == 1
    assert not any(key.startswith("split.") for key in header.metadata)
    reader = gguf.GGUFReader(joined)
    for number, tensor in enumerate(reader.tensors):
        expected = np.arange(ROWS[tensor.name] * 5, dtype=np.float32) + number
        assert np.array_equal(np.asarray(tensor.data).reshape(-1), expected)
    assert len(reader.fields["tokenizer.ggml.tokens"].data) == 2000


def test_join_refuses_shards_that_do_not_make_one_model(store: Store, tmp_path: Path) -> None:
    """One missing, one twice, one of another model."""
    digests = [store.blobs.add_file(path) for path in write_shards(tmp_path)]
    pair = [store.blobs.add_file(path) for path in write_shards(tmp_path, count=2, name="other")]
    for wrong in (digests[:2], [digests[0], digests[1], digests[1]], [digests[0], *pair], [*digests, pair[0]]):
        with pytest.raises(InvalidGguf):
            _drain(store, wrong)


def test_create_from_shards_makes_one_model(store: Store, tmp_path: Path) -> None:
    """The model has one layer of weights."""
    files = {path.name: store.blobs.add_file(path) for path in write_shards(tmp_path)}
    statuses = [line.status for line in create(store, CreateRequest(model="m", files=files))]
    assert "joining shards" in statuses
    model = store.resolve("m")
    assert len(model.manifest.of_type(WEIGHTS)) == 1
    assert [tensor.name for tensor in store.gguf(model).tensors] == list(ROWS)


def test_layers_that_are_shards_become_one(store: Store, tmp_path: Path) -> None:
    """A manifest whose weights are split over layers gets a layer that can be loaded; others stay as they are."""
    shards = write_shards(tmp_path)
    layers = [Layer(WEIGHTS, store.blobs.add_file(path), path.stat().st_size) for path in shards]
    config = Layer(CONFIG, layers[0].digest, layers[0].size)

    def joined(manifest: Manifest) -> Manifest | None:
        steps = joined_layers(store.blobs, manifest)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a generator's return value is untyped

    found = joined(Manifest(config=config, layers=tuple(layers)))
    assert found is not None
    assert len(found.layers) == 1
    assert joined(Manifest(config=config, layers=(layers[0],))) is None
