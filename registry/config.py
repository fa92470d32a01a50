"""The configuration of a model in the making: computed from its GGUF, inherited, or overridden by the request."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from actors.errors import InvalidRequest
from registry import estimate
from registry.gguf import GgufFile
from registry.manifests import ModelConfig
from registry.numbers import human_count

if TYPE_CHECKING:
    from registry.create import CreateRequest

# Renderer and parser that Ollama gives to imports of these architectures.
_BY_ARCHITECTURE = {
    "gemma4": "gemma4",
    "laguna": "laguna",
    "nemotron_h": "nemotron-3-nano",
    "nemotron_h_moe": "nemotron-3-nano",
    "nemotron_h_omni": "nemotron-3-nano",
}
_TEXT_INFO = {
    "model_family": "model_family",
    "base_name": "base_name",
    "quantization_level": "file_type",
    "parameter_size": "model_type",
}
_NUMBER_INFO = ("context_length", "embedding_length")


def config_for(
    request: "CreateRequest", inherited: ModelConfig, gguf: GgufFile, projector_families: tuple[str, ...]
) -> ModelConfig:
    """Give the configuration.

    Args:
        request: its renderer, parser, requires and info win.
        inherited: the base's configuration, or an empty one.
        gguf: the weights, from which family, size and quantisation are computed anew.
        projector_families: architectures of the projectors.

    Raises:
        InvalidRequest: a field of `info` is of the wrong type.
    """
    default = _BY_ARCHITECTURE.get(gguf.architecture) if not request.source else None
    config = ModelConfig(
        model_format=inherited.model_format or "gguf",
        model_family=gguf.architecture,
        model_families=tuple(dict.fromkeys((gguf.architecture, *projector_families))),
        model_type=human_count(estimate.parameter_count(gguf)),
        file_type=estimate.file_type_name(gguf),
        renderer=request.renderer or inherited.renderer or default or msgspec.UNSET,
        parser=request.parser or inherited.parser or default or msgspec.UNSET,
        requires=request.requires or inherited.requires or msgspec.UNSET,
        capabilities=inherited.capabilities or msgspec.UNSET,
    )
    return config if request.info is None else _with_info(config, request.info)


def _with_info(config: ModelConfig, info: Mapping[str, Any]) -> ModelConfig:
    changes: dict[str, Any] = {}
    for key, name in _TEXT_INFO.items():
        value = info.get(key) or ""
        if not isinstance(value, str):
            raise InvalidRequest(f'info field "{key}" must be a string')
        changes[name] = value or (msgspec.UNSET if key == "base_name" else "")
    for key in _NUMBER_INFO:
        number = info.get(key) or 0
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InvalidRequest(f'info field "{key}" must be a number')
        if number < 0 or number != int(number):
            raise InvalidRequest(f'info field "{key}" must be a non-negative integer')
        changes[key] = int(number) or msgspec.UNSET
    if info.get("capabilities"):
        if not isinstance(info["capabilities"], list) or not all(isinstance(one, str) for one in info["capabilities"]):
            raise InvalidRequest('info field "capabilities" must be an array of strings')
        changes["capabilities"] = tuple(info["capabilities"])
    return msgspec.structs.replace(config, **changes)
