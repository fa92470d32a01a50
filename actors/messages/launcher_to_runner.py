"""What a launcher writes into the pipe of a fresh process: the one assignment of its life."""

import msgspec

from actors.messages.model import LoadPlan, ModelSpec


class KvTier(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how much a runner keeps of conversations that left their slots."""

    memory_bytes: int = 0
    disk_bytes: int = 0
    folder: str | None = None


class Assignment(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Load this model and serve it."""

    runner_id: str
    model: ModelSpec
    plan: LoadPlan
    scheduler_endpoint: str
    endpoint: str
    """Where the runner binds its XPUB."""
    renderer_endpoint: str
    """Where the host's template renderer listens."""
    drain_timeout_s: float
    kv_tier: KvTier = KvTier()
    debug: bool = False


class RendererAssignment(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Render chat templates for this host's runners."""

    endpoint: str
    """Where the renderer listens."""
    debug: bool = False
