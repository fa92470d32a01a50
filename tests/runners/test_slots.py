"""Which slot a job gets."""

from typing import cast

from hypothesis import strategies as st

from runners.histories import Histories
from runners.jobs import RunningJob
from runners.slots import HOLE_COST_TOKENS, Slot, slot_for

_BUSY = cast("RunningJob", object())
_TOKENS = st.lists(st.integers(0, 3), max_size=40)


def _slot_for(prompt: list[int], slots: list[Slot]) -> Slot | None:
    return slot_for(Histories(slots).shared(prompt), slots)


def test_slot_for_long_shared_prefix_takes_the_warm_slot() -> None:
    """A conversation comes back to the slot that remembers it, even away from the running ones."""
    history = list(range(HOLE_COST_TOKENS + 1))
    slots = [Slot(0, job=_BUSY), Slot(1), Slot(2), Slot(3, tokens=[*history, 99]), Slot(4)]
    assert _slot_for([*history, 5], slots) is slots[3]


def test_slot_for_nothing_shared_stays_beside_the_running() -> None:
    """A new job closes up with running slots, because llama.cpp decodes consecutive slots in one pass."""
    slots = [Slot(0), Slot(1), Slot(2, job=_BUSY), Slot(3, last_used=1), Slot(4)]
    assert _slot_for([1, 2, 3], slots) is slots[1]


def test_slot_for_idle_engine_reuses_a_common_beginning() -> None:
    """The same system prompt is not prefilled again into an empty slot."""
    system = list(range(30))
    slots = [Slot(0), Slot(1, tokens=[*system, 90, 91], last_used=1)]
    assert _slot_for([*system, 80], slots) is slots[1]


def test_slot_for_common_beginning_spares_a_long_history() -> None:
    """A long conversation is worth more than the system prompt that it shares with everybody."""
    system = list(range(30))
    slots = [Slot(0), Slot(1, tokens=[*system, *range(1000, 3000)], last_used=1)]
    assert _slot_for([*system, 80], slots) is slots[0]


def test_slot_for_equals_takes_the_least_recently_used() -> None:
    """With nothing to choose by, recent histories are spared."""
    slots = [Slot(0, tokens=[9], last_used=3), Slot(1, tokens=[9], last_used=1), Slot(2, tokens=[9], last_used=2)]
    assert _slot_for([1], slots) is slots[1]


def test_slot_for_all_taken_gives_none() -> None:
    """There is no slot when every one has a job."""
    assert _slot_for([1], [Slot(0, job=_BUSY)]) is None
