"""Calls that are read as a whole, when their section has ended: forms that are no JSON.

Bound: a section of more than `_LONGEST_BLOCK` characters is no call.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.parse.reader import NotACallError, ReaderBase
from gateway.parse.sink import Sink
from gateway.parse.tools import DeclaredTools

_LONGEST_BLOCK = 1 << 20

Calls = Sequence[tuple[str, str]]
"""Names and arguments, the latter as JSON text of an object."""
ReadBlock = Callable[[str, DeclaredTools], Calls]
"""From a section's text to its calls; raises `NotACallError`."""


class BlockCalls(ReaderBase):
    """Reads the calls of one section, which ends with the first of `closings` or with the answer."""

    def __init__(self, sink: Sink, opening: str, closings: tuple[str, ...], read_block: ReadBlock) -> None:
        super().__init__(sink, opening, closings)
        self._read_block = read_block
        self._block = ""
        self._n_searched = 0

    def _read(self, text: str) -> str | None:
        self._block += text
        found = [
            (at, closing)
            for closing in self._closings
            if (at := self._block.find(closing, max(0, self._n_searched - len(closing)))) >= 0
        ]
        self._n_searched = len(self._block)
        end = min(found)[0] if found else len(self._block)
        if end > _LONGEST_BLOCK:
            raise NotACallError
        if not found:
            return None
        self._take(self._block[:end])
        return self._block[end + len(min(found)[1]) :]

    def _take(self, block: str) -> None:
        calls = self._read_block(block, self._sink.tools)
        if not calls or any(name not in self._sink.tools for name, _ in calls):
            raise NotACallError
        for name, arguments in calls:
            self._sink.call(name, arguments)

    def _finish(self) -> None:
        self._take(self._block)


def as_json(arguments: Mapping[str, Any]) -> str:
    """Give arguments as JSON text.

    Raises:
        NotACallError: they hold what JSON cannot: an infinity, half a surrogate pair, a set.
    """
    try:
        text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise NotACallError from error
    return text
