"""What was noted last, and is forgotten when enough has been noted since.

Two tables: when the new one is full it becomes the old one, and what the old one was is forgotten. Nothing is moved or
linked, so a look costs two look-ups, and a note one. Bound: at least the last `kept` notes, at most twice as many.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Notes by key; owned by the core."""

    __slots__ = ("_kept", "_new", "_old")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._new: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._new.keys() | self._old.keys())

    def __contains__(self, key: K) -> bool:
        return key in self._new or key in self._old

    def get(self, key: K) -> V | None:
        """Give what was noted last under a key."""
        found = self._new.get(key)
        return self._old.get(key) if found is None else found

    def note(self, key: K, value: V) -> None:
        """Note something."""
        self._new[key] = value
        if len(self._new) >= self._kept:
            self._old, self._new = self._new, {}
