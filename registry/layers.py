"""The text layers of a model in the making: which are kept, replaced, merged or added, in Ollama's order."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from registry import manifests
from registry.blobs import Blobs
from registry.manifests import Layer, ModelConfig, go_json
from registry.numbers import plain_number
from registry.templates.goscan import scan_go_template

# Stop words that an imported model of this renderer needs.
_STOP_BY_RENDERER = {"gemma4": ["<turn|>"]}


@dataclass(frozen=True, slots=True)
class NewLayer:
    """A layer of the manifest to be: whether its blob was written for it, and its text if the request brought it."""

    layer: Layer
    is_new: bool = False
    text: bytes | None = None


def default_parameters(config: ModelConfig) -> dict[str, Any]:
    """Give the parameters that an import gets unless the request sets them."""
    stop = _STOP_BY_RENDERER.get(config.renderer or "")
    return {"stop": stop} if stop else {}


def with_texts(
    base: tuple[NewLayer, ...],
    blobs: Blobs,
    *,
    template: str,
    system: str,
    licenses: Sequence[str],
    parameters: Mapping[str, Any],
    messages: Sequence[Mapping[str, Any]],
) -> tuple[NewLayer, ...]:
    """Put texts over a base's: licences are added, the others replaced; empty ones change nothing.

    Raises:
        InvalidRequest: the template's actions or blocks do not match.
        StoreUnwritable: the operating system refused a write.
    """
    found = base
    if template:
        scan_go_template(template)
        found = _with_template(found, blobs, template.encode())
    if system:
        found = (*_without(found, manifests.SYSTEM), _add(blobs, manifests.SYSTEM, system.encode()))
    for text in licenses:
        found = (*found, _add(blobs, manifests.LICENSE, text.encode()))
    if parameters:
        content = go_json(plain_number(dict(sorted(parameters.items()))))
        found = (*_without(found, manifests.PARAMETERS), _add(blobs, manifests.PARAMETERS, content))
    if messages:
        plain = [{"role": str(one.get("role", "")), "content": str(one.get("content", ""))} for one in messages]
        found = (*_without(found, manifests.MESSAGES), _add(blobs, manifests.MESSAGES, go_json(plain)))
    return found


def _with_template(base: tuple[NewLayer, ...], blobs: Blobs, content: bytes) -> tuple[NewLayer, ...]:
    """Put a template in its place; one that the base has already stays as it is there."""
    digest, is_new = blobs.add(content)
    if any(layer.layer.media_type == manifests.TEMPLATE and layer.layer.digest == digest for layer in base):
        return base
    layer = Layer(manifests.TEMPLATE, digest, len(content))
    return (*_without(base, manifests.TEMPLATE, manifests.PROMPT), NewLayer(layer, is_new, content))


def marked_as_written(base: tuple[NewLayer, ...]) -> tuple[NewLayer, ...]:
    """Mark the template as one that a user wrote."""
    return tuple(
        dataclasses.replace(one, layer=msgspec.structs.replace(one.layer, annotations=manifests.WRITTEN))
        if one.layer.media_type == manifests.TEMPLATE
        else one
        for one in base
    )


def _add(blobs: Blobs, media_type: str, content: bytes) -> NewLayer:
    digest, is_new = blobs.add(content)
    return NewLayer(Layer(media_type, digest, len(content)), is_new, content)


def _without(layers: tuple[NewLayer, ...], *media_types: str) -> tuple[NewLayer, ...]:
    return tuple(layer for layer in layers if layer.layer.media_type not in media_types)
