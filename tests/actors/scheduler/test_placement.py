"""Placement: context, slots, devices, and that a plan always fits its own options."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from actors.messages.model import LoadOptions, ModelSpec
from actors.scheduler.memory import Room
from actors.scheduler.placement import (
    ALL_LAYERS,
    EMBEDDING_SLOTS,
    Effort,
    Experience,
    Placement,
    default_num_ctx,
    kv_bytes,
    least_bytes,
    misfit,
    placement_for,
    size_bytes,
)
from tests.actors.scheduler.stage import GIB, model, plan, settings

ROOM = Room(12 * GIB, 16 * GIB)
LARGE = model("large", weights_bytes=6 * GIB, n_ctx_train=131_072, kv_bytes_per_token=131_072)


def gpu(free_bytes: int = 24 * GIB, *more: int) -> Room:
    """Give a room with devices."""
    devices = dict(enumerate((free_bytes, *more)))
    return Room(12 * GIB, 16 * GIB, devices, 24 * GIB * len(devices))


def placed(room: Room = ROOM, effort: Effort = Effort.WANTED, **options: int | bool | None) -> Placement:
    """Place the small model, which must fit."""
    placement = placement_for(model(), LoadOptions(**options), room, settings(), effort)  # type: ignore[arg-type]
    assert placement is not None
    return placement


def test_placement_of_a_small_model_gets_eight_slots_of_4096_on_cpu() -> None:
    """The default of a machine without devices."""
    chosen = placed().plan
    assert (chosen.num_ctx, chosen.n_slots, chosen.n_batch, chosen.n_gpu_layers) == (4096, 8, 512, 0)
    assert chosen.size_bytes == size_bytes(model(), 4096, 8)


@pytest.mark.parametrize(
    ("device_total_bytes", "context_length", "num_ctx"),
    [(0, None, 4096), (23 * GIB, None, 32_768), (47 * GIB, None, 262_144), (47 * GIB, 8192, 8192)],
)
def test_default_num_ctx_follows_setting_then_device_memory(
    device_total_bytes: int, context_length: int | None, num_ctx: int
) -> None:
    """The setting wins over the tiers."""
    room = room_with_devices(device_total_bytes)
    assert default_num_ctx(room, settings(context_length=context_length)) == num_ctx


def room_with_devices(device_total_bytes: int) -> Room:
    """Give a room whose devices have this much in total."""
    return Room(GIB, GIB, {0: device_total_bytes} if device_total_bytes else {}, device_total_bytes)


@pytest.mark.parametrize(("asked", "num_ctx"), [(1, 4), (5000, 5000), (99_999, 8192)])
def test_placement_bounds_the_asked_context(asked: int, num_ctx: int) -> None:
    """At least 4, at most what the model was trained for."""
    assert placed(num_ctx=asked).plan.num_ctx == num_ctx


def test_placement_takes_slots_for_a_quarter_of_the_memory() -> None:
    """Automatic slots halve until their cache takes at most a quarter of what is free."""
    room = Room(2 * GIB, 16 * GIB)
    chosen = placed(room).plan
    assert chosen.n_slots == 4
    assert kv_bytes(model(), 4096, 4) * 4 <= room.host_bytes < kv_bytes(model(), 4096, 8) * 4


def test_placement_with_num_parallel_takes_that_many_slots() -> None:
    """OLLAMA_NUM_PARALLEL is not halved while it fits."""
    placement = placement_for(model(), LoadOptions(), ROOM, settings(num_parallel=6), Effort.WANTED)
    assert placement is not None
    assert placement.plan.n_slots == 6


def test_placement_of_an_embedding_model_takes_many_requests_into_one_cache() -> None:
    """An embedding model takes each input in one batch, of as many requests as come, and has one cache for all."""
    placement = placement_for(model(is_embedding=True, n_ctx_train=512), LoadOptions(), ROOM, settings(), Effort.WANTED)
    assert placement is not None
    assert (placement.plan.n_slots, placement.plan.n_batch) == (EMBEDDING_SLOTS, 512)
    large = model(is_embedding=True, kv_bytes_per_token=1 << 20)
    assert kv_bytes(large, 4096, EMBEDDING_SLOTS) == 4096 << 20


@pytest.mark.parametrize(("asked", "given"), [(1, 64), (100, 100), (1 << 20, 2048)])
def test_placement_batch_is_kept_in_range(asked: int, given: int) -> None:
    """Neither too few tokens for the sequences nor more than buffers are made for."""
    assert placed(num_batch=asked).plan.n_batch == given


def test_placement_squeezed_gives_up_slots_before_context() -> None:
    """Slots go down to one, the context stays."""
    room = Room(int(7.4 * GIB), 16 * GIB)
    assert placement_for(LARGE, LoadOptions(), room, settings(num_parallel=4), Effort.WANTED) is None
    squeezed = placement_for(LARGE, LoadOptions(), room, settings(num_parallel=4), Effort.SQUEEZED)
    assert squeezed is not None
    assert (squeezed.plan.num_ctx, squeezed.plan.n_slots) == (4096, 1)


def test_placement_alone_gives_up_an_automatic_context() -> None:
    """When nothing else helps, a context that nobody asked for shrinks."""
    tight = settings(context_length=65_536)
    room = Room(4 * GIB, 12 * GIB)
    assert placement_for(LARGE, LoadOptions(), room, tight, Effort.SQUEEZED) is None
    alone = placement_for(LARGE, LoadOptions(), room, tight, Effort.ALONE)
    assert alone is not None
    assert (alone.plan.num_ctx, alone.plan.n_slots) == (16_384, 1)


def test_placement_alone_keeps_a_context_that_was_asked_for() -> None:
    """A named context is served or refused, never silently cut."""
    room = Room(4 * GIB, 8 * GIB)
    assert placement_for(LARGE, LoadOptions(num_ctx=65_536), room, settings(), Effort.ALONE) is None


def test_placement_alone_lets_mapped_weights_exceed_free_memory() -> None:
    """They can be paged in again; but not beyond the host's total, and not when mapping is off."""
    room = Room(2 * GIB, 16 * GIB)
    assert placement_for(LARGE, LoadOptions(), room, settings(), Effort.SQUEEZED) is None
    assert placement_for(LARGE, LoadOptions(), room, settings(), Effort.ALONE) is not None
    assert placement_for(LARGE, LoadOptions(use_mmap=False), room, settings(), Effort.ALONE) is None
    assert placement_for(LARGE, LoadOptions(), Room(2 * GIB, 6 * GIB), settings(), Effort.ALONE) is None


def test_placement_on_a_device_offloads_everything_to_the_freest() -> None:
    """One device, if it fits there."""
    placement = placed(gpu(10 * GIB, 20 * GIB))
    assert (placement.plan.n_gpu_layers, placement.plan.main_gpu) == (ALL_LAYERS, 1)
    assert placement.share.host_bytes == 0
    assert set(placement.share.device_bytes) == {1}


def test_placement_over_devices_when_one_is_too_small() -> None:
    """Several devices of one host, before any layer stays behind."""
    placement = placement_for(LARGE, LoadOptions(), gpu(6 * GIB, 6 * GIB), settings(context_length=4096), Effort.WANTED)
    assert placement is not None
    assert (placement.plan.n_gpu_layers, placement.plan.main_gpu) == (ALL_LAYERS, None)
    assert set(placement.share.device_bytes) == {0, 1}


def test_placement_on_too_small_a_device_is_partial_only_when_alone() -> None:
    """First others are evicted; then the share of layers that fits goes to the device."""
    room, context = gpu(4 * GIB), settings(context_length=4096)
    assert placement_for(LARGE, LoadOptions(), room, context, Effort.SQUEEZED) is None
    partial = placement_for(LARGE, LoadOptions(), room, context, Effort.ALONE)
    assert partial is not None
    assert 0 < partial.plan.n_gpu_layers < LARGE.n_layers
    assert partial.share.host_bytes > 0
    assert partial.share.device_bytes[0] <= 4 * GIB


def test_placement_on_a_full_device_falls_back_to_the_host() -> None:
    """No layer fits, so none is offloaded."""
    placement = placed(gpu(0), Effort.ALONE)
    assert placement.plan.n_gpu_layers == 0
    assert placement.share.device_bytes == {}


def test_placement_respects_the_options_about_devices() -> None:
    """num_gpu, main_gpu, num_thread and use_mmap as asked."""
    assert placed(gpu(), num_gpu=0).plan.n_gpu_layers == 0
    assert placed(gpu(), num_gpu=7).plan.n_gpu_layers == 7
    assert placed(gpu(), num_gpu=-1).plan.n_gpu_layers == ALL_LAYERS
    assert placed(gpu(5 * GIB, 20 * GIB), main_gpu=0).plan.main_gpu == 0
    assert placed(num_thread=3).plan.n_threads == 3
    assert placed(use_mmap=False).plan.use_mmap is False
    assert placed(num_batch=9999).plan.n_batch == 2048


def test_least_bytes_is_the_smallest_plan_that_would_do() -> None:
    """One slot, and the smallest context unless one was asked for."""
    assert least_bytes(LARGE, LoadOptions(), ROOM, settings()) == size_bytes(LARGE, 2048, 1)
    assert least_bytes(LARGE, LoadOptions(num_ctx=65_536), ROOM, settings()) == size_bytes(LARGE, 65_536, 1)


@pytest.mark.parametrize(
    ("options", "is_fit"),
    [
        (LoadOptions(), True),
        (LoadOptions(num_ctx=2048), True),
        (LoadOptions(num_ctx=4096), True),
        (LoadOptions(num_ctx=4097), False),
        (LoadOptions(num_batch=512), True),
        (LoadOptions(num_batch=256), False),
        (LoadOptions(num_thread=1), True),
        (LoadOptions(use_mmap=True), True),
        (LoadOptions(use_mmap=False), False),
        (LoadOptions(num_gpu=0, main_gpu=3), True),
    ],
)
def test_fits_on_a_host_without_devices(options: LoadOptions, is_fit: bool) -> None:  # noqa: FBT001 - a table column
    """An unset option means any, a smaller context fits, device options mean nothing."""
    assert (misfit(plan(), options, model(), has_devices=False) is None) is is_fit


@pytest.mark.parametrize(
    ("options", "is_fit"),
    [
        (LoadOptions(num_gpu=10), True),
        (LoadOptions(num_gpu=-1), True),
        (LoadOptions(num_gpu=11), False),
        (LoadOptions(num_gpu=0), False),
        (LoadOptions(main_gpu=1), True),
        (LoadOptions(main_gpu=0), False),
    ],
)
def test_fits_on_a_host_with_devices(options: LoadOptions, is_fit: bool) -> None:  # noqa: FBT001 - a table column
    """Named layers and devices must be the loaded ones."""
    assert (misfit(plan(n_gpu_layers=10, main_gpu=1), options, model(), has_devices=True) is None) is is_fit


_options = st.builds(
    LoadOptions,
    num_ctx=st.none() | st.integers(-1, 200_000),
    num_batch=st.none() | st.integers(0, 5000),
    num_gpu=st.none() | st.integers(-1, 1000),
    main_gpu=st.none() | st.integers(0, 3),
    use_mmap=st.none() | st.booleans(),
    num_thread=st.none() | st.integers(0, 64),
)
_bytes = st.integers(0, 64 * GIB)
_rooms = st.builds(
    lambda free, total, devices: Room(min(free, total), total, dict(enumerate(devices)), sum(devices)),
    _bytes,
    _bytes,
    st.lists(_bytes, max_size=3),
)
_models = st.builds(
    lambda weights, layers, trained, kv, is_embedding: msgspec.structs.replace(
        model(weights_bytes=weights),
        n_layers=layers,
        n_ctx_train=trained,
        kv_bytes_per_token=kv,
        is_embedding=is_embedding,
    ),
    _bytes,
    st.integers(0, 100),
    st.integers(0, 200_000),
    st.integers(0, 1 << 20),
    st.booleans(),
)


@examples(max_examples=300, deadline=None)
@given(_models, _options, _rooms, st.none() | st.integers(1, 20), st.sampled_from(Effort))
def test_placement_always_fits_the_options_it_was_made_for(
    spec: ModelSpec, options: LoadOptions, room: Room, num_parallel: int | None, effort: Effort
) -> None:
    """Or its request would have the model reloaded for ever; and below `ALONE` it keeps within the room."""
    placement = placement_for(spec, options, room, settings(num_parallel=num_parallel), effort)
    if placement is None:
        return
    chosen = placement.plan
    assert misfit(chosen, options, spec, has_devices=bool(room.device_bytes)) is None
    assert chosen.num_ctx >= 4
    assert chosen.n_slots >= 1
    assert chosen.n_batch >= 1
    assert chosen.size_bytes == placement.share.total_bytes
    if effort is not Effort.ALONE:
        assert placement.share.host_bytes <= room.host_bytes
        for index, taken in placement.share.device_bytes.items():
            assert taken <= room.device_bytes[index]


def test_placement_with_spread_uses_all_devices() -> None:
    """OLLAMA_SCHED_SPREAD; each takes a part in proportion to what it has free."""
    room = Room(8 * GIB, 16 * GIB, {0: 20 * GIB, 1: 10 * GIB}, 36 * GIB)
    found = placement_for(model(), LoadOptions(), room, settings(sched_spread=True), Effort.WANTED)
    assert found is not None
    assert set(found.share.device_bytes) == {0, 1}
    assert found.plan.tensor_split == pytest.approx((2 / 3, 1 / 3), abs=0.01)
    assert found.plan.main_gpu is None


def test_placement_takes_as_few_devices_as_suffice() -> None:
    """The freest two of three, of one host."""
    room = Room(8 * GIB, 16 * GIB, {0: 8 * GIB, 1: 10 * GIB, 2: 10 * GIB}, 36 * GIB)
    spec = model(weights_bytes=12 * GIB, n_ctx_train=2048)
    found = placement_for(spec, LoadOptions(), room, settings(), Effort.WANTED)
    assert found is not None
    assert set(found.share.device_bytes) == {1, 2}
    assert found.plan.tensor_split[0] == 0.0
    assert found.reason == "device 1+2: one is too small"


def test_placement_leaves_experts_on_the_host_before_layers() -> None:
    """All layers stay on the device; as many layers' experts as must stay with the host."""
    room = Room(30 * GIB, 32 * GIB, {0: 10 * GIB}, 10 * GIB)
    spec = model(weights_bytes=20 * GIB, expert_bytes=18 * GIB, n_layers=36, n_ctx_train=2048)
    assert placement_for(spec, LoadOptions(), room, settings(), Effort.WANTED) is None
    found = placement_for(spec, LoadOptions(), room, settings(), Effort.ALONE)
    assert found is not None
    assert found.plan.n_gpu_layers == ALL_LAYERS
    assert 20 < found.plan.n_expert_layers_on_host <= 36
    assert found.share.device_bytes[0] <= 10 * GIB * 80 // 100
    assert "experts" in found.reason


def test_placement_takes_what_was_learned_for_the_overhead() -> None:
    """And a context that could not be had is not tried again, unless somebody asks for it."""
    room = Room(8 * GIB, 16 * GIB)
    known = Experience(overhead_bytes=1 << 30, max_num_ctx=2048)
    learned = placement_for(model(), LoadOptions(), room, settings(), Effort.WANTED, known=known)
    asked = placement_for(model(), LoadOptions(num_ctx=4096), room, settings(), Effort.WANTED, known=known)
    assert learned is not None
    assert asked is not None
    assert (learned.plan.num_ctx, asked.plan.num_ctx) == (2048, 4096)
    assert asked.share.total_bytes > 1 << 30
