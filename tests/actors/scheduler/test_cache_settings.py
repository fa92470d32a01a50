"""The KV cache's settings in a load decision."""

import msgspec

from actors.messages.model import LoadOptions
from actors.scheduler.loading import LoadQuestion
from actors.scheduler.memory import Room
from actors.scheduler.placement import Effort
from actors.settings import Settings
from tests.actors.scheduler.stage import GIB, model, settings

ROOM = Room(12 * GIB, 16 * GIB)
SPEC = model("large", weights_bytes=GIB, n_ctx_train=131_072, kv_bytes_per_token=131_072)


def question(given: Settings) -> LoadQuestion:
    """Ask for a model with a context of 32,768 tokens."""
    return LoadQuestion(SPEC, LoadOptions(num_ctx=32_768), given, 0, 0, cost_s=lambda _: 0.0)


def test_plan_carries_what_the_settings_say() -> None:
    """Type, flash attention and place reach the plan."""
    given = msgspec.structs.replace(settings(), kv_cache_type="q8_0", flash_attention=True, kv_on_device=False)
    placement = question(given).placed(ROOM, Effort.WANTED)
    assert placement is not None
    plan = placement.plan
    assert (plan.kv_cache_type, plan.flash_attention, plan.kv_on_device) == ("q8_0", True, False)


def test_smaller_cache_leaves_room_for_more_slots() -> None:
    """A cache of four bits takes less of the memory, which is given to slots; too much is still too much."""
    plain = question(settings()).placed(ROOM, Effort.SQUEEZED)
    small = question(msgspec.structs.replace(settings(), kv_cache_type="q4_0")).placed(ROOM, Effort.SQUEEZED)
    assert plain is not None
    assert small is not None
    assert small.plan.n_slots > plain.plan.n_slots
    assert question(settings()).placed(Room(GIB, GIB), Effort.ALONE) is None
