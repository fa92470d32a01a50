"""Calls as Gemma writes them: `call:NAME{key:value,…}`, strings between quotes that are tokens of their own."""

import json
import re
from typing import Any

from gateway.parse.block_calls import Calls, as_json
from gateway.parse.object_scan import DEEPEST
from gateway.parse.reader import NotACallError
from gateway.parse.tools import DeclaredTools

QUOTES = ('<|"|>', "<escape>")
_HEAD = re.compile(r"\s*call:([^\s{}]{1,256})\s*\{")
_BARE = re.compile(r"[^,:{}\[\]]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,400})(?:\.\d{1,400})?(?:[eE][+-]?\d{1,3})?")
_WORDS = {"true": True, "false": False, "null": None}


def read_braced(block: str, tools: DeclaredTools) -> Calls:
    """Read the calls of a section.

    Raises:
        NotACallError: it is written otherwise.
    """
    del tools  # values carry their types
    calls = []
    position = 0
    while head := _HEAD.match(block, position):
        reader = _Braced(block, head.end())
        arguments = reader.members(depth=1)
        calls.append((head[1], as_json(arguments)))
        position = reader.position
    if block[position:].strip():
        raise NotACallError
    return calls


class _Braced:
    """One pass over a block; `position` is behind what was read."""

    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self.position = position

    def members(self, *, depth: int) -> dict[str, Any]:
        """Read members up to the closing brace."""
        members: dict[str, Any] = {}
        while not self._take("}"):
            key = self._string() if self._at_quote() else self._bare()
            if not key or not self._take(":"):
                raise NotACallError
            members[key] = self._value(depth)
            if not self._take(",") and not self._sees("}"):
                raise NotACallError
        return members

    def _items(self, depth: int) -> list[Any]:
        items = []
        while not self._take("]"):
            items.append(self._value(depth))
            if not self._take(",") and not self._sees("]"):
                raise NotACallError
        return items

    def _value(self, depth: int) -> Any:
        if depth >= DEEPEST:
            raise NotACallError
        if self._take("{"):
            return self.members(depth=depth + 1)
        if self._take("["):
            return self._items(depth + 1)
        if self._at_quote():
            return self._string()
        bare = self._bare()
        if not bare:
            raise NotACallError
        if bare in _WORDS:
            return _WORDS[bare]
        if _NUMBER.fullmatch(bare):
            return json.loads(bare)
        return bare

    def _at_quote(self) -> str | None:
        self._skip_blanks()
        return next((quote for quote in (*QUOTES, '"') if self._text.startswith(quote, self.position)), None)

    def _string(self) -> str:
        quote = self._at_quote()
        assert quote is not None  # noqa: S101  # the caller looked
        start = self.position + len(quote)
        end = self._text.find(quote, start)
        if end < 0:
            raise NotACallError
        self.position = end + len(quote)
        return self._text[start:end]

    def _bare(self) -> str:
        found = _BARE.match(self._text, self.position)
        assert found is not None  # noqa: S101  # it matches nothing, too
        self.position = found.end()
        return found[0].strip()

    def _sees(self, char: str) -> bool:
        self._skip_blanks()
        return self._text.startswith(char, self.position)

    def _take(self, char: str) -> bool:
        if not self._sees(char):
            return False
        self.position += 1
        return True

    def _skip_blanks(self) -> None:
        while self._text[self.position : self.position + 1].isspace():
            self.position += 1
