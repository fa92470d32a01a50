"""`lora` of a request: adapters by the names of installed models that have them, with a scale each.

A model that was created with an ADAPTER uses it at full strength. A request may say `lora: [{"name": "pirate", "scale":
0.5}]` instead, to any model with the same weights: what is listed replaces the model's own, and an empty list leaves
none. One runner serves all of them, so no weights are loaded twice.
"""

import math
from typing import Any

from actors.errors import InvalidRequest, ModelNotFound
from actors.messages.model import AdapterUse
from gateway.models import Models, ServedModel
from registry.adapters import check_adapter

MOST_ADAPTERS = 8
LARGEST_SCALE = 10.0
"""Beyond it nothing but noise is to be had."""


async def adapters_of(models: Models, model: ServedModel, value: Any) -> tuple[AdapterUse, ...] | None:
    """Read `lora`; None where a request says nothing, so that the model's own are used.

    Raises:
        InvalidRequest: it is no list of names and scales, or names what has no adapter for these weights.
    """
    if value is None:
        return None
    return await models.in_thread(lambda: _uses(models, model, _checked(value)))


def _checked(value: Any) -> dict[str, float]:
    if not isinstance(value, list) or len(value) > MOST_ADAPTERS:
        raise InvalidRequest(f"lora must be a list of at most {MOST_ADAPTERS} objects with a name and a scale")
    wanted: dict[str, float] = {}
    for item in value:
        name, scale = (item.get("name"), item.get("scale", 1.0)) if isinstance(item, dict) else (None, 1.0)
        if not isinstance(name, str) or not name:
            raise InvalidRequest("each item of lora must be an object with the name of a model that has an adapter")
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not _is_scale(scale):
            raise InvalidRequest(
                f"the scale of lora {name!r} must be a number from -{LARGEST_SCALE:g} to {LARGEST_SCALE:g}"
            )
        if name in wanted:
            raise InvalidRequest(f"lora names {name!r} twice")
        wanted[name] = float(scale)
    return wanted


def _is_scale(scale: float) -> bool:
    return abs(scale) <= LARGEST_SCALE and math.isfinite(scale)


def _uses(models: Models, model: ServedModel, wanted: dict[str, float]) -> tuple[AdapterUse, ...]:
    uses: dict[str, float] = {}
    base = models.store.gguf(model.installed)
    for name, scale in wanted.items():
        try:
            source = models.store.resolve(name)
        except ModelNotFound as error:
            raise InvalidRequest(f"lora names {name!r}, which is not installed: create it with an ADAPTER") from error
        if not source.adapters:
            raise InvalidRequest(f"lora names {name!r}, which has no adapter")
        if source.weights_path != model.installed.weights_path:
            raise InvalidRequest(f"the adapter of {name!r} belongs to other weights than {model.requested!r} has")
        for path, gguf in zip(source.adapters, models.store.adapters(source), strict=True):
            check_adapter(gguf, base, name=name)
            uses[str(path)] = uses.get(str(path), 0.0) + scale
    return tuple(AdapterUse(path, scale) for path, scale in uses.items())
