"""Embeddings of media by the hash of their content, so that an image in a long chat is encoded once."""

import collections
import ctypes
from typing import Any

_MOST_BYTES = 256 << 20


class EmbeddingCache:
    """Holds at most `most_bytes`, the least recently used go first; owned by the media thread."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._held: collections.OrderedDict[tuple[str, int], Any] = collections.OrderedDict()
        self._n_bytes = 0

    def get(self, key: tuple[str, int]) -> Any | None:
        """Look up by content id and ordinal of the run within its medium."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, key: tuple[str, int], embeddings: Any) -> None:
        """Remember a ctypes array; one that is larger than the bound is not."""
        size = ctypes.sizeof(embeddings)
        if size > self._most_bytes or key in self._held:
            return
        self._held[key] = embeddings
        self._n_bytes += size
        while self._n_bytes > self._most_bytes:
            _, dropped = self._held.popitem(last=False)
            self._n_bytes -= ctypes.sizeof(dropped)
