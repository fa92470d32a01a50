"""Memory of a host."""

from actors.scheduler.memory import Room, Share, room_on, total
from tests.actors.scheduler.stage import GIB, device, host


def test_room_on_an_empty_host_is_what_it_reports() -> None:
    """Without runners the report is the answer."""
    room = room_on(host(devices=(device(free_bytes=5 * GIB),)), living=Share(), unreported=Share(), credit=Share())
    assert room.host_bytes == 12 * GIB
    assert room.device_bytes == {0: 5 * GIB}
    assert room.device_total_bytes == 24 * GIB


def test_room_on_a_host_with_a_loading_runner_leaves_out_what_it_will_take() -> None:
    """The report does not show it yet."""
    loading = Share(4 * GIB, {0: 6 * GIB})
    room = room_on(host(devices=(device(),)), living=loading, unreported=loading, credit=Share())
    assert room.host_bytes == 8 * GIB
    assert room.device_bytes == {0: 18 * GIB}


def test_room_on_a_host_with_mapped_weights_counts_them_although_the_report_does_not() -> None:
    """Mapped weights stay available in the report, yet two models of 9 GiB do not fit 16."""
    room = room_on(host(available_bytes=15 * GIB), living=Share(9 * GIB), unreported=Share(), credit=Share())
    assert room.host_bytes == 7 * GIB


def test_room_on_a_host_credits_what_exited_since_its_report() -> None:
    """The memory of an exited runner is there before the next report says so."""
    room = room_on(host(available_bytes=2 * GIB), living=Share(), unreported=Share(), credit=Share(3 * GIB))
    assert room.host_bytes == 5 * GIB


def test_room_is_never_negative() -> None:
    """A host in debt has no room, not less than none."""
    too_much = Share(99 * GIB, {0: 99 * GIB})
    room = room_on(host(devices=(device(),)), living=too_much, unreported=too_much, credit=Share())
    assert room.total_bytes == 0


def test_room_plus_and_minus_a_share_are_inverse() -> None:
    """What is taken away comes back, but never above the host's total."""
    room = Room(8 * GIB, 16 * GIB, {0: 4 * GIB})
    share = Share(2 * GIB, {0: GIB})
    assert room.minus(share).plus(share) == room
    assert room.plus(Share(99 * GIB)).host_bytes == 16 * GIB


def test_total_of_shares_adds_each_place_up() -> None:
    """Host and devices are summed apart."""
    assert total([Share(1, {0: 2}), Share(10, {0: 20, 1: 5})]) == Share(11, {0: 22, 1: 5})
    assert total([]).total_bytes == 0


def test_room_leaves_the_overhead_of_each_device_alone() -> None:
    """OLLAMA_GPU_OVERHEAD."""
    facts = host(devices=(device(0, free_bytes=4 * GIB), device(1, free_bytes=GIB)))
    room = room_on(facts, living=Share(), unreported=Share(), credit=Share(), device_overhead_bytes=2 * GIB)
    assert room.device_bytes == {0: 2 * GIB, 1: 0}
