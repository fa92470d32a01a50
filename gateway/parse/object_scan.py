"""One JSON object, read as it arrives: where it ends, and at which character it stops being one.

The scan keeps a normalised text: no white space between tokens, control characters in strings escaped (models write
line breaks into strings). That text is at any time the beginning of a valid object, so it can be passed on at once.
Source of the grammar: RFC 8259. Bound: `DEEPEST` levels.
"""

import enum
import re
from collections.abc import Collection

import msgspec

DEEPEST = 64
"""Levels of nesting that arguments may have."""
_LONGEST_NUMBER = 512
_STRING_STOP = re.compile(r'["\\\x00-\x1f]')
_NUMBER_BEGUN = re.compile(r"-?(?:0|[1-9][0-9]*)?(?:(?<=[0-9])\.[0-9]*)?(?:(?<=[0-9])[eE][+-]?[0-9]*)?")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS = ("true", "false", "null")
_BLANKS = " \t\r\n"
_HEX = frozenset("0123456789abcdefABCDEF")
_N_HEX = 4


class NotJsonError(Exception):
    """The text is no JSON object from here on; always caught where the scan is used."""


class _At(enum.Enum):
    START = enum.auto()
    KEY_OR_END = enum.auto()
    KEY = enum.auto()
    COLON = enum.auto()
    VALUE = enum.auto()
    VALUE_OR_END = enum.auto()
    NEXT = enum.auto()
    STRING = enum.auto()
    ESCAPE = enum.auto()
    HEX = enum.auto()
    NUMBER = enum.auto()
    LITERAL = enum.auto()
    END = enum.auto()


class ObjectScan:
    """Scan of one object; `captures` names the top-level members whose object is kept aside as it arrives."""

    def __init__(self, *, captures: Collection[str] = ()) -> None:
        self.strings: dict[str, str] = {}
        """The top-level members that are strings, so far; of members of the same key, the first."""
        self.keys: list[str] = []
        """The keys of the top-level members, so far."""
        self.captured: list[str] | None = None
        """Normalised text of the captured member so far, in pieces."""
        self._captures = captures
        self._is_capturing = False
        self._pieces: list[str] = []
        self._at = _At.START
        self._closers: list[str] = []
        self._token: list[str] = []
        self._n_hex = 0
        self._is_key = False
        self._key = ""

    @property
    def is_complete(self) -> bool:
        """Whether the object has ended."""
        return self._at is _At.END

    @property
    def text(self) -> str:
        """The normalised text so far."""
        return "".join(self._pieces)

    @property
    def n_pieces(self) -> int:
        """How many pieces the normalised text has so far."""
        return len(self._pieces)

    def since(self, n_pieces: int) -> str:
        """Give the normalised text behind the first `n_pieces` pieces."""
        return "".join(self._pieces[n_pieces:])

    def feed(self, text: str, position: int = 0) -> int:
        """Read on from `position`; give the position behind what belongs to the object.

        Raises:
            NotJsonError: a character cannot follow.
        """
        while position < len(text) and self._at is not _At.END:
            if self._at is _At.STRING:
                stop = _STRING_STOP.search(text, position)
                end = stop.start() if stop else len(text)
                if end > position:
                    self._keep(text[position:end])
                    self._token.append(text[position:end])
                    position = end
                    continue
            self._push(text[position])
            position += 1
        return position

    def _push(self, char: str) -> None:
        match self._at:
            case _At.STRING:
                self._in_string(char)
            case _At.ESCAPE:
                self._escaped(char)
            case _At.HEX:
                self._hex(char)
            case _At.NUMBER | _At.LITERAL:
                self._in_word(char)
            case _ if char in _BLANKS:
                return
            case _:
                self._structure(char)

    def _structure(self, char: str) -> None:
        at = self._at
        if at is _At.START and char == "{":
            self._open(char)
        elif at in {_At.KEY, _At.KEY_OR_END} and char == '"':
            self._begin_string(is_key=True)
        elif at is _At.COLON and char == ":":
            self._keep(char)
            self._at = _At.VALUE
        elif at is _At.NEXT and char == ",":
            self._keep(char)
            self._at = _At.KEY if self._closers[-1] == "}" else _At.VALUE
        elif at in {_At.NEXT, _At.KEY_OR_END, _At.VALUE_OR_END} and char == self._closers[-1]:
            self._close(char)
        elif at in {_At.VALUE, _At.VALUE_OR_END}:
            self._begin_value(char)
        else:
            raise NotJsonError

    def _begin_value(self, char: str) -> None:
        if char in "{[":
            self._open(char)
        elif char == '"':
            self._begin_string(is_key=False)
        elif char in "-0123456789":
            self._at, self._token = _At.NUMBER, [char]
            self._keep(char)
        elif char in "tfn":
            self._at, self._token = _At.LITERAL, [char]
            self._keep(char)
        else:
            raise NotJsonError

    def _open(self, char: str) -> None:
        if len(self._closers) >= DEEPEST:
            raise NotJsonError
        if len(self._closers) == 1 and char == "{" and self.captured is None and self._key in self._captures:
            self.captured, self._is_capturing = [], True
        self._closers.append("}" if char == "{" else "]")
        self._keep(char)
        self._at = _At.KEY_OR_END if char == "{" else _At.VALUE_OR_END

    def _close(self, char: str) -> None:
        self._keep(char)
        self._closers.pop()
        if len(self._closers) == 1:
            self._is_capturing = False
        self._at = _At.NEXT if self._closers else _At.END

    def _begin_string(self, *, is_key: bool) -> None:
        self._keep('"')
        self._at, self._is_key, self._token = _At.STRING, is_key, []

    def _in_string(self, char: str) -> None:
        if char == '"':
            self._keep(char)
            self._end_string()
        elif char == "\\":
            self._keep(char)
            self._token.append(char)
            self._at = _At.ESCAPE
        else:  # a control character, which JSON wants escaped
            escape = f"\\u{ord(char):04x}"
            self._keep(escape)
            self._token.append(escape)

    def _escaped(self, char: str) -> None:
        if char not in '"\\/bfnrtu':
            raise NotJsonError
        self._keep(char)
        self._token.append(char)
        self._at, self._n_hex = (_At.HEX, 0) if char == "u" else (_At.STRING, 0)

    def _hex(self, char: str) -> None:
        if char not in _HEX:
            raise NotJsonError
        self._keep(char)
        self._token.append(char)
        self._n_hex += 1
        if self._n_hex == _N_HEX:
            self._at = _At.STRING

    def _end_string(self) -> None:
        value = _decoded("".join(self._token))
        if len(self._closers) == 1:
            if self._is_key:
                self._key = value
                self.keys.append(value)
            else:
                self.strings.setdefault(self._key, value)
        self._at = _At.COLON if self._is_key else _At.NEXT

    def _in_word(self, char: str) -> None:
        word = "".join(self._token)
        if self._at is _At.LITERAL:
            is_whole, goes_on = word in _LITERALS, any(each.startswith(word + char) for each in _LITERALS)
        else:
            is_whole = _NUMBER.fullmatch(word) is not None
            goes_on = len(word) < _LONGEST_NUMBER and _NUMBER_BEGUN.fullmatch(word + char) is not None
        if goes_on:
            self._token.append(char)
            self._keep(char)
        elif is_whole:
            self._at = _At.NEXT
            self._push(char)
        else:
            raise NotJsonError

    def _keep(self, piece: str) -> None:
        self._pieces.append(piece)
        if self._is_capturing and self.captured is not None:
            self.captured.append(piece)


def _decoded(raw: str) -> str:
    try:
        return msgspec.json.decode(f'"{raw}"', type=str)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:  # half of a surrogate pair
        raise NotJsonError from error
