"""Facts of the host at hand, and which devices CUDA's variable shows."""

import os

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.launcher.devices import visible_devices
from actors.launcher.facts import Facts, memory, n_usable_cores

UUIDS = ["GPU-aa11", "GPU-aa22", "GPU-bb33"]


def test_memory_is_within_the_machine() -> None:
    """Available is some of the total."""
    total_bytes, available_bytes = memory()
    assert 0 < available_bytes <= total_bytes


def test_cores_are_at_most_the_usable_processors() -> None:
    """Hyper-threads of one core count once."""
    assert 1 <= n_usable_cores() <= len(os.sched_getaffinity(0))


def test_cores_follow_the_affinity() -> None:
    """A process bound to one processor has one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert n_usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


async def test_facts_have_devices_once_refreshed() -> None:
    """The refresh tells when the first reading is in, with devices or without."""
    facts = Facts()
    assert facts.now().devices == ()
    async with trio.open_nursery() as nursery:
        await nursery.start(facts.refresh_devices_forever)
        assert all(0 <= device.free_bytes <= device.total_bytes for device in facts.now().devices)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1", [1]),
        ("2, 0", [2, 0]),
        ("GPU-b", [2]),
        ("gpu-AA2,0", [1, 0]),
        ("GPU-a", []),
        ("0,7,1", [0]),
        ("0,,1", [0]),
    ],
)
def test_visible_devices_follow_cuda(setting: str | None, shown: list[int]) -> None:
    """In the order of the variable; an ambiguous or unknown entry ends the list."""
    assert visible_devices(setting, UUIDS) == shown


@given(st.text())
@settings(max_examples=100)
def test_visible_devices_of_any_text_are_devices(setting: str) -> None:
    """Whatever stands in the variable, the places exist."""
    assert set(visible_devices(setting, UUIDS)) <= {0, 1, 2}
