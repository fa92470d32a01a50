"""Go template text cut into tokens.

Positions are kept as line numbers, which is what errors show. A lexical error becomes the last token, so that the
parser meets earlier errors of its own first, as Go's does.
"""

import enum
import re
from collections.abc import Iterator
from typing import NamedTuple

LONGEST_TEMPLATE = 128 << 10
"""Characters of a template; the longest in use has 7,213. Parsing that much takes half a second."""

_BLANKS = " \t\r\n"
_TERMINATORS = " \t\r\n.,|:)("
_KEYWORDS = {"block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"}
_LONGEST_SHOWN = 10


class Kind(enum.Enum):
    """What a token is; keywords share one kind."""

    TEXT = enum.auto()
    LEFT = enum.auto()
    RIGHT = enum.auto()
    SPACE = enum.auto()
    STRING = enum.auto()
    RAW = enum.auto()
    CHARACTER = enum.auto()
    NUMBER = enum.auto()
    BOOL = enum.auto()
    VARIABLE = enum.auto()
    FIELD = enum.auto()
    DOT = enum.auto()
    WORD = enum.auto()
    KEYWORD = enum.auto()
    DECLARE = enum.auto()
    ASSIGN = enum.auto()
    PIPE = enum.auto()
    OPEN = enum.auto()
    CLOSE = enum.auto()
    OTHER = enum.auto()
    ERROR = enum.auto()
    EOF = enum.auto()


class Token(NamedTuple):
    """One token; the text of an ERROR is what is wrong."""

    kind: Kind
    text: str
    line: int

    @property
    def shown(self) -> str:
        """The token as error texts name it."""
        if self.kind is Kind.EOF:
            return "EOF"
        if self.kind is Kind.KEYWORD:
            return f"<{self.text}>"
        escaped = self.text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        if len(self.text) > _LONGEST_SHOWN:
            return f'"{escaped[:_LONGEST_SHOWN]}"...'
        return f'"{escaped}"'


_ACTION = re.compile(
    r"""(?P<SPACE>[ \t\r\n]+)
    |(?P<STRING>"(?:\\[^\n]|[^"\\\n])*")
    |(?P<RAW>`[^`]*`)
    |(?P<CHARACTER>'(?:\\[^\n]|[^'\\\n])*')
    |(?P<VARIABLE>\$\w*)
    |(?P<NUMBER>[+-]?\.?\d(?:[eEpP][+-]|[\w.])*)
    |(?P<FIELD>\.\w+)
    |(?P<DOT>\.)
    |(?P<WORD>\w+)
    |(?P<DECLARE>:=)
    |(?P<ASSIGN>=)
    |(?P<PIPE>\|)
    |(?P<OPEN>\()
    |(?P<CLOSE>\))
    |(?P<OTHER>[!-~])""",
    re.VERBOSE,
)
_NAMED = {Kind.VARIABLE, Kind.FIELD, Kind.DOT, Kind.WORD}
_UNTERMINATED = {'"': "unterminated quoted string", "`": "unterminated raw quoted string"}


def tokens(text: str) -> list[Token]:
    """Cut a template; the last token is EOF or ERROR."""
    return list(_Lexer(text).run())


class _Lexer:
    """One pass over one template."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._trims = False

    def run(self) -> Iterator[Token]:
        if len(self._text) > LONGEST_TEMPLATE:
            yield Token(Kind.ERROR, f"the template is longer than {LONGEST_TEMPLATE} characters", 1)
            return
        while True:
            yield from self._literal()
            if self._at == len(self._text):
                yield Token(Kind.EOF, "", self._line)
                return
            for token in self._action():
                yield token
                if token.kind is Kind.ERROR:
                    return

    def _literal(self) -> Iterator[Token]:
        """Give the text up to the next action, less what trim markers on either side take away."""
        end = self._text.find("{{", self._at)
        end = len(self._text) if end < 0 else end
        text = self._text[self._at : end]
        if self._trims:
            text = text.lstrip(_BLANKS)
            self._trims = False
        if self._text.startswith("-", end + 2) and self._text[end + 3 : end + 4] in tuple(_BLANKS):
            text = text.rstrip(_BLANKS)
        if text:
            yield Token(Kind.TEXT, text, self._line)
        self._advance(end)

    def _action(self) -> Iterator[Token]:
        start = self._line
        begin = self._at + 2
        if self._text.startswith("-", begin) and self._text[begin + 1 : begin + 2] in tuple(_BLANKS):
            begin += 2
        if self._text.startswith("/*", begin):
            yield from self._comment(begin)
            return
        yield Token(Kind.LEFT, "{{", start)
        self._advance(begin)
        depth = 0
        while not self._closes():
            token = self._token()
            yield token
            depth += (token.kind is Kind.OPEN) - (token.kind is Kind.CLOSE)
            if depth < 0:
                yield self._error("unexpected right paren")
        if depth:
            yield self._error("unclosed left paren")
        yield Token(Kind.RIGHT, "}}", self._line)

    def _comment(self, begin: int) -> Iterator[Token]:
        end = self._text.find("*/", begin + 2)
        if end < 0:
            yield self._error("unclosed comment")
            return
        self._advance(end + 2)
        if not self._closes():
            yield self._error("comment ends before closing delimiter")

    def _closes(self) -> bool:
        """Pass over the end of an action, if it is here."""
        at = self._at
        if self._text.startswith("}}", at):
            self._at += 2
            return True
        if self._text.startswith("-}}", at + 1) and self._text[at] in _BLANKS:
            self._advance(at + 4)
            self._trims = True
            return True
        return False

    def _token(self) -> Token:
        match = _ACTION.match(self._text, self._at)
        if match is None or match.lastgroup is None:
            return self._unreadable()
        kind, text, line = Kind[match.lastgroup], match[0], self._line
        end = match.end()
        if kind is Kind.SPACE and self._text.startswith("-}}", end):
            end -= 1  # the last blank belongs to the trim marker
        if kind in _NAMED and self._text[end : end + 1] not in _TERMINATORS and not self._text.startswith("}}", end):
            return self._error(f"bad character U+{ord(self._text[end]):04X} {self._text[end]!r}")
        if kind is Kind.OTHER and text in _UNTERMINATED:
            return self._error(_UNTERMINATED[text])
        if kind is Kind.OTHER and text in ("'", ":"):
            return self._error("unterminated character constant" if text == "'" else "expected :=")
        if kind is Kind.WORD and text in _KEYWORDS:
            kind = Kind.KEYWORD
        elif kind is Kind.WORD and text in ("true", "false"):
            kind = Kind.BOOL
        self._advance(end)
        return Token(kind, text, line)

    def _unreadable(self) -> Token:
        if self._at == len(self._text):
            return self._error("unclosed action")
        found = self._text[self._at]
        return self._error(f"unrecognized character in action: U+{ord(found):04X} {found!r}")

    def _error(self, what: str) -> Token:
        return Token(Kind.ERROR, what, self._line)

    def _advance(self, end: int) -> None:
        self._line += self._text.count("\n", self._at, end)
        self._at = end
