"""LoRA adapters: whether a file is one, and one for a given model."""

from actors.errors import InvalidGguf
from registry.gguf import GgufFile

_KIND = "adapter"
_METHOD = "lora"


def check_adapter(adapter: GgufFile, base: GgufFile, *, name: str) -> None:
    """Check that an adapter fits a model, as far as the headers tell.

    Raises:
        InvalidGguf: it is none, or is made for another model; says for which.
    """
    if adapter.text("general.type") != _KIND or adapter.metadata.get("adapter.type") != _METHOD:
        raise InvalidGguf(f"{name} is no LoRA adapter")
    if adapter.architecture != base.architecture:
        raise InvalidGguf(
            f"the adapter {name} is made for {adapter.architecture} models, not for {base.architecture}: use one that "
            "was trained on this model"
        )
    shapes = {tensor.name: tensor.shape for tensor in base.tensors}
    for tensor in adapter.tensors:
        target, _, part = tensor.name.rpartition(".lora_")
        if part not in {"a", "b"}:
            raise InvalidGguf(f"the adapter {name} has a tensor {tensor.name}, which is no LoRA factor")
        if target not in shapes:
            raise InvalidGguf(f"the adapter {name} changes {target}, which the model does not have")
