"""The radix tree against counting."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runners.radix import RadixTree, common_prefix

_TOKENS = st.lists(st.integers(0, 2), max_size=8)


class TreeMachine(RuleBasedStateMachine):
    """Sequences come and go; the tree finds what a search through all of them finds."""

    def __init__(self) -> None:
        super().__init__()
        self.tree: RadixTree[int] = RadixTree()
        self.sequences: dict[int, list[int]] = {}
        self.next_key = 0

    @rule(tokens=_TOKENS)
    def insert(self, tokens: list[int]) -> None:
        """A sequence comes."""
        self.tree.insert(tokens, self.next_key)
        self.sequences[self.next_key] = tokens
        self.next_key += 1

    @rule(choice=st.integers(0, 1000))
    def remove(self, choice: int) -> None:
        """A sequence goes."""
        if self.sequences:
            key = sorted(self.sequences)[choice % len(self.sequences)]
            self.tree.remove(self.sequences.pop(key), key)

    @rule(choice=st.integers(0, 1000), tokens=_TOKENS)
    def extend(self, choice: int, tokens: list[int]) -> None:
        """A sequence becomes longer."""
        if self.sequences:
            key = sorted(self.sequences)[choice % len(self.sequences)]
            self.tree.extend(key, tokens)
            self.sequences[key] = self.sequences[key] + tokens

    @rule(tokens=_TOKENS)
    def share(self, tokens: list[int]) -> None:
        """What each sequence shares is what counting finds."""
        assert self.tree.shared(tokens) == {key: common_prefix(tokens, own) for key, own in self.sequences.items()}

    @rule(tokens=_TOKENS)
    def remove_unknown(self, tokens: list[int]) -> None:
        """A sequence that is not there cannot go."""
        with pytest.raises(KeyError):
            self.tree.remove(tokens, -1)
        with pytest.raises(KeyError):
            self.tree.extend(-1, tokens)

    @rule(tokens=_TOKENS)
    def find(self, tokens: list[int]) -> None:
        """The longest common prefix is that of the best sequence."""
        best = max((common_prefix(tokens, own) for own in self.sequences.values()), default=0)
        found = self.tree.longest(tokens)
        if found is None:
            assert best == 0
        else:
            assert found[1] == best == common_prefix(tokens, self.sequences[found[0]])

    @invariant()
    def no_node_is_idle(self) -> None:
        """Every node ends a sequence or branches."""
        stack = list(self.tree._root.children.values())
        while stack:
            node = stack.pop()
            assert node.label
            assert node.keys or len(node.children) > 1
            stack += node.children.values()


TreeMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_radix_tree_agrees_with_counting = TreeMachine.TestCase


@given(st.integers(0, 200), _TOKENS, _TOKENS)
def test_common_prefix_agrees_with_counting(n_same: int, left: list[int], right: list[int]) -> None:
    """The search finds what a token by token comparison finds."""
    left, right = list(range(n_same)) + left, list(range(n_same)) + right
    expected = next(
        (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
    )
    assert common_prefix(left, right) == expected
