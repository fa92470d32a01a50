"""A radix tree over token sequences: which of many has the longest prefix in common with a new one.

Edges are labelled with runs of tokens; a sequence ends at a node. Finding the longest common prefix walks one path from
the root, so it takes as long as the prefix is, however many sequences there are.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_FIRST_STEP = 32


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Count the leading tokens that two sequences share."""
    limit = min(len(left), len(right))
    low, step = 0, _FIRST_STEP
    while low < limit and left[low : (high := min(limit, low + step))] == right[low:high]:
        low, step = high, 2 * step
    if low == limit:
        return limit
    # Invariant: the first `low` agree, the first `high` do not.
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


@dataclasses.dataclass(slots=True, eq=False)
class _Node(Generic[K]):
    label: list[int]
    children: "dict[int, _Node[K]]" = dataclasses.field(default_factory=dict)
    keys: list[K] = dataclasses.field(default_factory=list)  # of the sequences that end here, oldest first


class RadixTree(Generic[K]):
    """Token sequences, each under a key of its own; the same sequence may be there under several keys."""

    def __init__(self) -> None:
        self._root: _Node[K] = _Node([])
        self._ends: dict[K, _Node[K]] = {}

    def insert(self, tokens: Sequence[int], key: K) -> None:
        """Add a sequence."""
        self._insert(self._root, list(tokens), key)

    def extend(self, key: K, tokens: Sequence[int]) -> None:
        """Lengthen the sequence under a key, in time that does not depend on how long it was.

        Raises:
            KeyError: there is none.
        """
        node = self._ends[key]
        if node.keys == [key] and not node.children and node is not self._root:
            node.label += tokens
        elif tokens:
            node.keys.remove(key)
            self._insert(node, list(tokens), key)
            if not node.keys and len(node.children) == 1 and node is not self._root:
                (only,) = node.children.values()
                node.label, node.children, node.keys = node.label + only.label, only.children, only.keys
                self._ends |= dict.fromkeys(node.keys, node)

    def _insert(self, node: _Node[K], rest: list[int], key: K) -> None:
        while rest:
            child = node.children.get(rest[0])
            if child is None:
                child = node.children[rest[0]] = _Node(rest)
                node, rest = child, []
                break
            shared = common_prefix(rest, child.label)
            if shared < len(child.label):
                upper: _Node[K] = _Node(child.label[:shared])
                node.children[rest[0]] = upper
                child.label = child.label[shared:]
                upper.children[child.label[0]] = child
                child = upper
            node, rest = child, rest[shared:]
        node.keys.append(key)
        self._ends[key] = node

    def remove(self, tokens: Sequence[int], key: K) -> None:
        """Take a sequence out again.

        Raises:
            KeyError: it is not there under this key.
        """
        path, node, rest = [], self._root, list(tokens)
        while rest:
            child = node.children.get(rest[0])
            if child is None or rest[: len(child.label)] != child.label:
                raise KeyError(key)
            path.append((node, rest[0]))
            node, rest = child, rest[len(child.label) :]
        if key not in node.keys:
            raise KeyError(key)
        node.keys.remove(key)
        del self._ends[key]
        for parent, first in reversed(path):
            child = parent.children[first]
            if child.keys or len(child.children) > 1:
                break
            if child.children:
                (only,) = child.children.values()
                only.label = child.label + only.label
                parent.children[first] = only
                break
            del parent.children[first]

    def longest(self, tokens: Sequence[int]) -> tuple[K, int] | None:
        """Find a sequence with the longest prefix in common.

        Returns:
            Its key and the number of tokens in common, at least 1; the shortest such sequence's if it is a whole
            prefix of `tokens`, else any. None when none begins alike.
        """
        node, rest, shared = self._root, list(tokens), 0
        while rest:
            child = node.children.get(rest[0])
            if child is None:
                break
            step = common_prefix(rest, child.label)
            node, rest, shared = child, rest[step:], shared + step
            if step < len(child.label):
                break
        if not shared:
            return None
        while not node.keys:
            node = next(iter(node.children.values()))
        return node.keys[-1], shared

    def shared(self, tokens: Sequence[int]) -> dict[K, int]:
        """Give for every key how many tokens its sequence has in common with these, from the first on."""
        found: dict[K, int] = {}
        node, rest, depth = self._root, list(tokens), 0
        while True:
            child = node.children.get(rest[0]) if rest else None
            found |= dict.fromkeys(node.keys, depth)
            for other in node.children.values():
                if other is not child:
                    found |= dict.fromkeys(_keys_below(other), depth)
            if child is None:
                return found
            step = common_prefix(rest, child.label)
            depth += step
            if step < len(child.label):
                return found | dict.fromkeys(_keys_below(child), depth)
            node, rest = child, rest[step:]


def _keys_below(node: _Node[K]) -> Iterator[K]:
    stack = [node]
    while stack:
        node = stack.pop()
        yield from node.keys
        stack += node.children.values()
