"""Whose turn it is among sets of LoRA adapters: a step has one set, and the sets that have work take turns."""

from collections.abc import Sequence

from runners.jobs import PreparedJob
from runners.llama.adapters import Adapters, AdapterSet
from runners.llama.context import Context
from runners.slots import Slot


class AdapterTurns:
    """Chooses adapters for jobs and for steps; owned by the decode thread."""

    def __init__(self, adapters: Adapters, slots: Sequence[Slot]) -> None:
        self._adapters = adapters
        self._slots = slots
        self._turns = 0

    def set_for(self, job: PreparedJob, context: Context) -> AdapterSet:
        """Give the set that a job asks for, loading what is new.

        Raises:
            InvalidRequest: llama.cpp refused a file, or too many are in use.
        """
        busy = {path for slot in self._slots if slot.job is not None for path, _ in slot.adapters}
        return self._adapters.set_of(job.adapters, busy=busy, detach=lambda: context.use_adapters((), ()))

    def slots_in_turn(self, busy: list[Slot]) -> list[Slot]:
        """Give those of the slots with a job that step together: with one set of adapters, the sets in turn."""
        if all(slot.adapters == busy[0].adapters for slot in busy):
            return busy
        has_text = (slot for slot in busy if slot.is_decoding or slot.remaining_prompt())
        sets = list(dict.fromkeys(slot.adapters for slot in has_text))
        self._turns += 1
        chosen = sets[self._turns % len(sets)] if sets else ()
        return [slot for slot in busy if slot.adapters == chosen]

    def use(self, slot: Slot, context: Context) -> None:
        """Decode with the set of a slot from now on."""
        context.use_adapters(self._adapters.handles(slot.adapters), [scale for _, scale in slot.adapters])
