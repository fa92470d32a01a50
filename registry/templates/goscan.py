"""What a Go template uses, told without rendering it.

A light scan, no parser of Go's grammar: it splits text from actions, nests the blocks, and collects field names and
string constants. That is enough to choose the prompt engine, to list capabilities, and to refuse a template whose
braces or blocks do not match.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from actors.errors import InvalidRequest

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_STRING = re.compile(r'"(?:\\.|[^"\\])*"|`[^`]*`')
_NAME = re.compile(r"[.$]([A-Za-z_]\w*)")
_OPENING = {"if", "range", "with", "define", "block"}


@dataclass(frozen=True, slots=True)
class GoTemplate:
    """Facts about one template; `names` are the field and variable names it mentions, in lower case."""

    names: frozenset[str]
    strings: frozenset[str]
    text: str
    thinking_tags: tuple[str, str] | None

    @property
    def capabilities(self) -> frozenset[str]:
        """Which of tools, insert and thinking the template offers."""
        offered = {"tools": "tools" in self.names, "insert": "suffix" in self.names}
        return frozenset(
            {name for name, yes in offered.items() if yes} | ({"thinking"} if self.thinking_tags else set())
        )

    @property
    def round_trip(self) -> bool:
        """Whether calls and their results can be shown to the model again."""
        compares_tool = "role" in self.names and "tool" in self.strings
        shows = compares_tool or "tool_response" in self.text or "TOOL_RESULTS" in self.text
        return "tools" in self.names and "toolcalls" in self.names and shows

    @property
    def is_bare(self) -> bool:
        """Whether it is the template of models that have none: nothing but the prompt."""
        return re.fullmatch(r"\s*\{\{-?\s*\.Prompt\s*-?\}\}\s*", self.text) is not None


@dataclass(slots=True)
class _Block:
    """A list of nodes under construction: its literal texts, and where it mentions Thinking last (-1: nowhere)."""

    in_messages: bool
    texts: list[str] = field(default_factory=list)
    thinking_at: int = -1


@lru_cache(maxsize=64)
def scan_go_template(text: str) -> GoTemplate:
    """Scan a template.

    Raises:
        InvalidRequest: an action or a block is not closed, or an end has no beginning.
    """
    scan = _Scan(text)
    for match in _ACTION.finditer(text):
        scan.action(match)
    return scan.finish()


class _Scan:
    """One pass over one template."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._names: set[str] = set()
        self._strings: set[str] = set()
        self._tags: tuple[str, str] | None = None
        self._tags_at = -1
        self._stack = [_Block(in_messages=False)]
        self._position = 0

    def action(self, match: re.Match[str]) -> None:
        """Take the text before an action, and the action."""
        self._literal(match.start())
        self._position = match.end()
        if match[2].lstrip().startswith("/*"):
            return
        self._strings |= {found[1:-1] for found in _STRING.findall(match[2])}
        plain = _STRING.sub("", match[2])
        mentioned = {name.lower() for name in _NAME.findall(plain)}
        self._names |= mentioned
        if "thinking" in mentioned:
            self._stack[-1].thinking_at = match.start()
        word = plain.split(maxsplit=1)[0] if plain.strip() else ""
        if word in ("end", "else"):
            if len(self._stack) == 1:
                raise self._error(match.start(), "unexpected {{" + word + "}}")
            in_messages = self._stack[-1].in_messages
            self._close()
            if word == "else":
                self._stack.append(_Block(in_messages))
        elif word in _OPENING:
            self._stack.append(_Block(self._stack[-1].in_messages or (word == "range" and "messages" in mentioned)))

    def finish(self) -> GoTemplate:
        """Take the text behind the last action."""
        self._literal(len(self._text))
        if len(self._stack) > 1:
            raise self._error(len(self._text), "unexpected EOF")
        return GoTemplate(frozenset(self._names), frozenset(self._strings), self._text, self._tags)

    def _literal(self, end: int) -> None:
        brace = self._text.find("{{", self._position, end)
        if brace >= 0:
            raise self._error(brace, "unclosed action")
        self._stack[-1].texts.append(self._text[self._position : end].strip())

    def _close(self) -> None:
        block = self._stack.pop()
        literals = [text for text in block.texts if text]
        # The last mention inside a range over Messages counts; a condition belongs to the list around it.
        if block.in_messages and block.thinking_at > self._tags_at and len(literals) > 1:
            self._tags, self._tags_at = (literals[0], literals[-1]), block.thinking_at

    def _error(self, position: int, what: str) -> InvalidRequest:
        line = self._text.count("\n", 0, position) + 1
        return InvalidRequest(f"template error: template: :{line}: {what}")
