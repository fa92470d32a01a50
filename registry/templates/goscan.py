"""What a Go template uses, told from its syntax tree without rendering it.

That chooses the prompt engine, lists capabilities, and gives what parsers of the answer need: the tags around a model's
thinking, and the text in front of its tool calls.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from actors.errors import InvalidRequest, TemplateFailed
from registry.templates.go import nodes
from registry.templates.go.identifiers import identifiers, names_in, pipe_of, pipes_of, walk
from registry.templates.go.parser import parse

_N_KEPT = 2048  # a list of many models asks for all of their templates; each keeps its text and a few names


@dataclass(frozen=True, slots=True)
class GoTemplate:
    """Facts about one template; `names` are the fields and variables it mentions, in lower case, variables with `$`."""

    names: frozenset[str]
    strings: frozenset[str]
    text: str
    thinking_tags: tuple[str, str] | None
    tool_call_prefix: str = "{"
    """What the model writes in front of a tool call; a brace when the template does not say."""

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


@lru_cache(maxsize=_N_KEPT)
def scan_go_template(text: str) -> GoTemplate:
    """Scan a template.

    Raises:
        InvalidRequest: it has a syntax error.
    """
    try:
        tree = parse(text)
    except TemplateFailed as error:
        raise InvalidRequest(f"template error: {error.fields['reason']}") from error
    tags = None
    for literals in _around_thinking(tree.body, in_messages=False):
        tags = (literals[0], literals[-1])  # the last mention counts
    return GoTemplate(identifiers(tree), _strings(tree), text, tags, _tool_call_prefix(tree))


def _strings(tree: nodes.Tree) -> frozenset[str]:
    bodies = (tree.body, *tree.definitions.values())
    return frozenset(found for body in bodies for pipe in pipes_of(body) for found in _strings_in(pipe))


def _strings_in(operand: nodes.Operand) -> Iterator[str]:
    match operand:
        case nodes.Constant(value=str(value)):
            yield value
        case nodes.Chain(node=node):
            yield from _strings_in(node)
        case nodes.Pipe(commands=commands):
            for command in commands:
                for one in command.operands:
                    yield from _strings_in(one)


def _mentions(pipe: nodes.Pipe | None, name: str) -> bool:
    return pipe is not None and name in names_in(pipe)


def _around_thinking(body: nodes.Body, *, in_messages: bool) -> Iterator[list[str]]:
    """Give the literal texts of each list that mentions Thinking inside a range over Messages, if it has two.

    A condition belongs to the list around its block.
    """
    literals = [text for node in body if isinstance(node, nodes.Text) and (text := node.text.strip())]
    for node in body:
        if in_messages and len(literals) > 1 and _mentions(pipe_of(node), "Thinking"):
            yield literals
        if isinstance(node, nodes.Branch):
            inside = _mentions(node.pipe, "Messages") if isinstance(node, nodes.Range) else in_messages
            yield from _around_thinking(node.body, in_messages=inside)
            yield from _around_thinking(node.other or (), in_messages=inside)


def _tool_call_prefix(tree: nodes.Tree) -> str:
    """Give the text that a template puts in front of calls, up to the first brace."""
    for node in walk(tree.body):
        if isinstance(node, nodes.If) and _mentions(node.pipe, "ToolCalls"):
            return _first_text(node.body).partition("{")[0].strip() or "{"
    return "{"


def _first_text(body: nodes.Body) -> str:
    """Give the first text that is not blank, from nested blocks too; empty when something else is shown first."""
    for node in body:
        if isinstance(node, nodes.Text):
            if node.text.strip():
                return node.text
        elif isinstance(node, nodes.Branch):
            return _first_text(node.body)
        else:
            return ""
    return ""
