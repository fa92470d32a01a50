"""The token histories of all slots, live or not, in a radix tree: how much of each begins a new prompt.

The tree is brought up to date when it is asked, for an admission: a slot's new tokens are put to the end of what is
known of it, so that a step costs nothing. It is an index and no more: who takes a slot's cells compares the tokens
themselves.
"""

from collections.abc import Mapping, Sequence

from runners.radix import RadixTree
from runners.slots import Slot


class Histories:
    """Finds the slots that hold the beginning of a prompt; owned by the decode thread."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._tree: RadixTree[int] = RadixTree()
        self._known: dict[int, list[int]] = {}
        """What the tree holds, by slot."""

    def shared(self, prompt: Sequence[int]) -> Mapping[int, int]:
        """Give by the index of each slot with tokens how many of them, from the first on, the prompt shares."""
        for slot in self._slots:
            self._look_at(slot)
        return self._tree.shared(prompt)

    def _look_at(self, slot: Slot) -> None:
        tokens, known = slot.tokens, self._known.get(slot.index)
        n_same, slot.n_same = slot.n_same, len(tokens)
        if known is not None and n_same >= len(known):
            new = tokens[len(known) :]
            self._tree.extend(slot.index, new)
            known += new
            return
        if known is not None:
            self._tree.remove(known, slot.index)
            del self._known[slot.index]
        if tokens:
            self._known[slot.index] = list(tokens)
            self._tree.insert(tokens, slot.index)
