"""A radix tree over token sequences: which of many has the longest prefix in common with a new one.

Edges are labelled with runs of tokens; a sequence ends at a node. Finding the longest common prefix walks one path from
the root, so it takes as long as the prefix is, however many sequences there are.
"""

import dataclasses
from collections.abc import Sequence
from typing import Generic, TypeVar

K = TypeVar("K")


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Count the leading tokens that two sequences share."""
    limit = min(len(left), len(right))
    if left[:limit] == right[:limit]:
        return limit
    low, high = 0, limit  # invariant: the first `low` agree, the first `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


@dataclasses.dataclass(slots=True, eq=False)
class _Node(Generic[K]):
    label: tuple[int, ...]
    children: "dict[int, _Node[K]]" = dataclasses.field(default_factory=dict)
    keys: list[K] = dataclasses.field(default_factory=list)  # of the sequences that end here, oldest first


class RadixTree(Generic[K]):
    """Token sequences, each under a key of the caller's; the same sequence may be there under several keys."""

    def __init__(self) -> None:
        self._root: _Node[K] = _Node(())

    def insert(self, tokens: Sequence[int], key: K) -> None:
        """Add a sequence."""
        node, rest = self._root, tuple(tokens)
        while rest:
            child = node.children.get(rest[0])
            if child is None:
                node.children[rest[0]] = _Node(rest, keys=[key])
                return
            shared = common_prefix(rest, child.label)
            if shared < len(child.label):
                upper: _Node[K] = _Node(child.label[:shared])
                node.children[rest[0]] = upper
                child.label = child.label[shared:]
                upper.children[child.label[0]] = child
                child = upper
            node, rest = child, rest[shared:]
        node.keys.append(key)

    def remove(self, tokens: Sequence[int], key: K) -> None:
        """Take a sequence out again.

        Raises:
            KeyError: it is not there under this key.
        """
        path, node, rest = [], self._root, tuple(tokens)
        while rest:
            child = node.children.get(rest[0])
            if child is None or rest[: len(child.label)] != child.label:
                raise KeyError(key)
            path.append((node, rest[0]))
            node, rest = child, rest[len(child.label) :]
        if key not in node.keys:
            raise KeyError(key)
        node.keys.remove(key)
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
        node, rest, shared = self._root, tuple(tokens), 0
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
