"""What the settings of the KV cache change about a placement: its size before, its plan afterwards."""

import dataclasses

import msgspec

from actors.kv_cache import scaled_bytes
from actors.messages.model import ModelSpec
from actors.scheduler.placement import Placement
from actors.settings import Settings


def sized(model: ModelSpec, settings: Settings) -> ModelSpec:
    """Give the model with the cache bytes per token that it will have."""
    n_bytes = scaled_bytes(model.kv_bytes_per_token, settings.kv_cache_type)
    return msgspec.structs.replace(model, kv_bytes_per_token=n_bytes)


def with_cache(placement: Placement | None, settings: Settings) -> Placement | None:
    """Give the placement with what its plan says about the cache."""
    if placement is None:
        return None
    plan = msgspec.structs.replace(
        placement.plan,
        kv_cache_type=settings.kv_cache_type,
        flash_attention=settings.flash_attention,
        kv_on_device=settings.kv_on_device,
    )
    return dataclasses.replace(placement, plan=plan)
