"""Quantizing by llama.cpp: which types there are, what is refused, and models that load."""

from collections.abc import Callable
from pathlib import Path

import pytest

from actors.errors import ConversionFailed, InvalidRequest
from registry.create import CreateRequest, create
from registry.gguf import read_gguf
from registry.manifests import DRAFT
from registry.store import Store
from registry.workshop.quantize import FILE_TYPES, file_type_named, quantized
from runners.llama.binding import native

pytestmark = [pytest.mark.model, pytest.mark.processes]
WriteGguf = Callable[..., Path]


def test_create_quantizes_a_model_from_another(store: Store, tiny_gguf: Path) -> None:
    """The weights get a new layer, progress and configuration say so, the base is untouched."""
    digest = store.blobs.add_file(tiny_gguf)
    list(create(store, CreateRequest(model="base", files={"tiny.gguf": digest})))
    steps = list(create(store, CreateRequest(model="small", source="base", quantize="q4_k", system="S")))
    counted = [step for step in steps if step.status == "quantizing F16 model to Q4_K_M"]
    assert counted[-1].completed == counted[-1].total == tiny_gguf.stat().st_size
    assert [step.completed for step in counted] == sorted(step.completed for step in counted)
    assert len(counted) > 5
    assert "verifying conversion" in [step.status for step in steps]
    made = store.resolve("small")
    assert made.config.file_type == "Q4_K_M"
    assert made.weights is not None
    assert made.weights.size < tiny_gguf.stat().st_size / 2
    assert {"Q5_0"} < {tensor.type_name for tensor in read_gguf(made.weights_path).tensors}
    assert made.system == "S"
    assert store.resolve("base").config.file_type == "F16"
    assert [path.name for path in store.blobs.folder.iterdir() if len(path.name) != 71] == []


@pytest.mark.parametrize("file_type", ["Q8_0", "Q2_K", "IQ4_XS", "TQ2_0", "BF16", "MXFP4_MOE"])
def test_quantized_is_a_model_of_that_type(store: Store, tiny_gguf: Path, file_type: str) -> None:
    """The header says which, and passes our strict reader."""
    digest = store.blobs.add_file(tiny_gguf)
    *_, last = _followed(store, digest, file_type)
    assert read_gguf(store.blobs.path(last)).metadata["general.file_type"] == FILE_TYPES[file_type]


def test_file_types_are_those_of_llama_cpp_that_need_no_matrix() -> None:
    """Each of llama.cpp's types is offered, needs an importance matrix, or cannot be quantized to."""
    known = {
        name.removeprefix("LLAMA_FTYPE_").removeprefix("ALL_").removeprefix("MOSTLY_"): getattr(native, name)
        for name in dir(native)
        if name.startswith("LLAMA_FTYPE_")
    }
    assert {name: known.get(name) for name in FILE_TYPES} == FILE_TYPES
    others = known.keys() - FILE_TYPES.keys()
    needing = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"}
    assert others == needing | {"GUESSED", "NVFP4"}, "NVFP4 has no default type in llama.cpp's quantizer"
    for name in needing:
        with pytest.raises(InvalidRequest, match="needs an importance matrix"):
            file_type_named(name)


def test_quantized_twice_is_refused(store: Store, tiny_gguf: Path) -> None:
    """Quality that is gone does not come back."""
    *_, once = _followed(store, store.blobs.add_file(tiny_gguf), "Q8_0")
    with pytest.raises(InvalidRequest, match="only supported for F16, BF16 and F32 models"):
        _followed(store, once, "Q4_0")


def test_quantized_what_llama_cpp_refuses_is_told(store: Store, write_gguf: WriteGguf) -> None:
    """A file that is no model to llama.cpp gives its reason, and leaves nothing."""
    digest = store.blobs.add_file(write_gguf(llama__block_count=1))
    with pytest.raises(ConversionFailed, match=r"llama\.cpp could not quantize"):
        _followed(store, digest, "Q8_0")
    assert len(list(store.blobs.folder.iterdir())) == 1


def test_create_draft_is_a_layer_of_its_own_and_quantized_apart(store: Store, tiny_gguf: Path) -> None:
    """DRAFT adds a second model, which has its own type."""
    digest = store.blobs.add_file(tiny_gguf)
    files = {"tiny.gguf": digest}
    list(create(store, CreateRequest(model="m", files=files, draft_files=files, draft_quantize="q8_0")))
    made = store.resolve("m")
    (draft,) = made.manifest.of_type(DRAFT)
    assert made.weights is not None
    assert made.weights.digest == digest
    assert draft.digest != digest


@pytest.mark.parametrize(("text", "name"), [("q4_k", "Q4_K_M"), ("Q8_0", "Q8_0"), ("mxfp4", "MXFP4_MOE")])
def test_file_type_named_takes_any_case_and_short_forms(text: str, name: str) -> None:
    """As people write them."""
    assert file_type_named(text) == name


def _followed(store: Store, digest: str, file_type: str) -> list[str]:
    """Quantize; give the statuses, and the result's digest last."""
    steps = quantized(store.blobs, digest, file_type)
    found = []
    while True:
        try:
            found.append(next(steps).status)
        except StopIteration as end:
            return [*found, end.value]
