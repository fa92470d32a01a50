"""GBNF, llama.cpp's grammar notation, as the Lark dialect of llguidance: one more language for one matcher.

llama.cpp has a matcher of its own, whose state multiplies with every character of an ambiguous grammar
(`a ::= "x" a b | "x" a c | "x"`: 12 characters take 0.8 s, 14 take 20 s), on the decode thread, where nothing can stop
it. llguidance matches any context-free grammar within limits. So that both accept the same texts, every terminal is one
character: llguidance's lexer then never has a choice between a shorter and a longer one.

Source of the notation: `grammars/README.md` of llama.cpp, read with its parser; rules may be left-recursive here.
"""

import re
from collections.abc import Callable

from actors.errors import InvalidGrammar

MOST_CHARS = 64 << 10
_MOST_DEPTH = 64
_MOST_REPEATS = 2000  # llama.cpp's bound

_NAME = re.compile(r"[a-zA-Z0-9-]+")
_BLANK = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_REPEATS = re.compile(r"\{\s*(\d{1,9})\s*(,\s*(\d{1,9})?\s*)?\}")
_TOKEN = re.compile(r"<\[\d{1,9}\]>|<[^<>\s\[\]]{1,200}>")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([nrt\"\\\[\]]))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_OPERATORS = {"*": "*", "+": "+", "?": "?"}


def lark_from_gbnf(text: str) -> str:
    """Translate a grammar; its rule `root` becomes `start`.

    Raises:
        InvalidGrammar: it breaks the notation or a bound; tells the line.
    """
    if len(text) > MOST_CHARS:
        raise InvalidGrammar("gbnf", f"the grammar has {len(text)} characters, {MOST_CHARS} are allowed")
    return _Reader(text).grammar()


class _Reader:
    """A recursive descent over one text; recursion is bounded by `_MOST_DEPTH`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._names: dict[str, str] = {}
        self._rules: dict[str, str] = {}

    def grammar(self) -> str:
        """Read all rules."""
        self._skip(_BLANK_LINES)
        while self._at < len(self._text):
            self._rule()
            self._skip(_BLANK_LINES)
        if "root" not in self._rules:
            raise InvalidGrammar("gbnf", "it has no rule named root")
        missing = [name for name in self._names if name not in self._rules]
        if missing:
            raise InvalidGrammar("gbnf", f"the rule {missing[0]} is used but not defined")
        lines = [f"{self._names[name]}: {body}" for name, body in self._rules.items()]
        return "\n".join([f"start: {self._names['root']}", *lines]) + "\n"

    def _rule(self) -> None:
        name = self._take(_NAME, "a rule's name")
        self._reference(name)
        self._skip(_BLANK)
        if not self._text.startswith("::=", self._at):
            raise self._error("expected ::=")
        self._at += 3
        self._skip(_BLANK_LINES)
        self._rules[name] = self._alternatives(self._skip_blank)
        if self._at < len(self._text) and self._text[self._at] not in "\r\n":
            raise self._error(f"unexpected {self._text[self._at]!r}")

    def _alternatives(self, skip: Callable[[], None]) -> str:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise self._error(f"it is nested deeper than {_MOST_DEPTH} levels")
        found = [self._sequence(skip)]
        while self._peek() == "|":
            self._at += 1
            self._skip(_BLANK_LINES)
            found.append(self._sequence(skip))
        self._depth -= 1
        return " | ".join(found)

    def _sequence(self, skip: Callable[[], None]) -> str:
        items: list[str] = []
        while (item := self._item()) is not None:
            skip()
            while repeats := self._repeats():
                item = f"({item}){repeats}"
                skip()
            items.append(item)
        return " ".join(items) or '""'

    def _item(self) -> str | None:
        head = self._peek()
        readers: dict[str, Callable[[], str]] = {
            '"': self._literal,
            "[": self._character_class,
            ".": self._any_character,
            "(": self._group,
            "<": lambda: self._take(_TOKEN, "a token"),
        }
        if head in readers:
            return readers[head]()
        if head == "!":
            return self._other_token()
        return self._reference(self._take(_NAME, "a rule's name")) if _NAME.match(head) else None

    def _other_token(self) -> str:
        self._at += 1
        token = self._take(_TOKEN, "a token")
        if not token.startswith("<["):
            raise self._error(f"a token that may not come is written by its number, as !<[7]>, not !{token}")
        return token.replace("[", "[^")

    def _any_character(self) -> str:
        self._at += 1
        return "/(?s:.)/"

    def _group(self) -> str:
        self._at += 1
        self._skip(_BLANK_LINES)
        inner = self._alternatives(lambda: self._skip(_BLANK_LINES))
        self._expect(")")
        return f"({inner})"

    def _literal(self) -> str:
        self._at += 1
        characters = []
        while self._peek() != '"':
            characters.append(f"/[{self._character()}]/")
        self._at += 1
        return f"({' '.join(characters)})" if characters else '""'

    def _character_class(self) -> str:
        self._at += 1
        negated = self._peek() == "^"
        self._at += negated
        parts = []
        while self._peek() != "]":
            part = self._character()
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                part = f"{part}-{self._character()}"
            parts.append(part)
        self._at += 1
        if not parts:
            raise self._error("a class of no characters")
        return f"/[{'^' * negated}{''.join(parts)}]/"

    def _character(self) -> str:
        head = self._peek()
        if not head:
            raise self._error("unexpected end")
        if head != "\\":
            self._at += 1
            return f"\\u{{{ord(head):X}}}"
        escape = _ESCAPE.match(self._text, self._at)
        if escape is None:
            raise self._error("unknown escape")
        self._at = escape.end()
        code = next((digits for digits in escape.groups()[:3] if digits), None)
        number = int(code, 16) if code else ord(_ESCAPED.get(escape[4], escape[4]))
        return f"\\u{{{number:X}}}"

    def _repeats(self) -> str:
        operator = _OPERATORS.get(self._peek())
        if operator:
            self._at += 1
            return operator
        if self._peek() != "{":
            return ""
        match = _REPEATS.match(self._text, self._at)
        if match is None:
            raise self._error("expected a number of repetitions")
        self._at = match.end()
        least = int(match[1])
        most = least if match[2] is None else int(match[3]) if match[3] else None
        if max(least, most or 0) > _MOST_REPEATS:
            raise self._error(f"more than {_MOST_REPEATS} repetitions")
        if most is not None and most < least:
            raise self._error("fewer repetitions at most than at least")
        return f"{{{least},{'' if most is None else most}}}"

    def _reference(self, name: str) -> str:
        return self._names.setdefault(name, f"rule_{len(self._names)}")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip_blank(self) -> None:
        self._skip(_BLANK)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _take(self, pattern: re.Pattern[str], what: str) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise self._error(f"expected {what}")
        self._at = match.end()
        return match[0]

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._error(f"expected {character!r}")
        self._at += 1

    def _error(self, reason: str) -> InvalidGrammar:
        line = self._text.count("\n", 0, self._at) + 1
        return InvalidGrammar("gbnf", f"line {line}: {reason}")
