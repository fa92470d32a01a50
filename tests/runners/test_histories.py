"""The index of the slots' histories against counting, whatever happens to the slots meanwhile."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from runners.histories import Histories
from runners.radix import common_prefix
from runners.slots import Slot

_TOKENS = st.lists(st.integers(0, 2), max_size=8)
_SLOTS = st.integers(0, 3)


class HistoriesMachine(RuleBasedStateMachine):
    """Slots grow, are cut, shifted and filled anew; the index finds what a look at all of them finds."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = [Slot(index) for index in range(4)]
        self.histories = Histories(self.slots)

    @rule(index=_SLOTS, tokens=_TOKENS)
    def grow(self, index: int, tokens: list[int]) -> None:
        """A step adds tokens."""
        self.slots[index].tokens += tokens

    @rule(index=_SLOTS, n_tokens=st.integers(0, 12))
    def cut(self, index: int, n_tokens: int) -> None:
        """A new job keeps the front."""
        self.slots[index].cut(n_tokens)

    @rule(index=_SLOTS, start=st.integers(0, 12), n_lost=st.integers(0, 6))
    def shift(self, index: int, start: int, n_lost: int) -> None:
        """A context shift takes out the middle."""
        self.slots[index].drop(start, start + n_lost)

    @rule(index=_SLOTS, donor=_SLOTS, n_tokens=st.integers(0, 12))
    def take(self, index: int, donor: int, n_tokens: int) -> None:
        """A slot gets another's beginning."""
        tokens = list(self.slots[donor].tokens)
        self.slots[index].cut(0)
        self.slots[index].tokens += tokens
        self.slots[index].cut(n_tokens)

    @rule(prompt=_TOKENS)
    def ask(self, prompt: list[int]) -> None:
        """A job comes."""
        expected = {slot.index: common_prefix(prompt, slot.tokens) for slot in self.slots if slot.tokens}
        assert self.histories.shared(prompt) == expected


HistoriesMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
test_histories_agree_with_counting = HistoriesMachine.TestCase
