"""The parser for one answer of a model."""

from typing import Protocol

from gateway.parse.answer import AnswerParser
from gateway.parse.dialect import Dialect
from gateway.parse.events import Event
from gateway.parse.harmony import HarmonyParser
from gateway.parse.tools import DeclaredTools


class Parser(Protocol):
    """Parser of one answer."""

    def feed(self, text: str) -> list[Event]:
        """Take a piece of the answer; give what is certain now."""

    def close(self) -> list[Event]:
        """End the answer; give what was held back."""


def parser_for(dialect: Dialect, tools: DeclaredTools, *, prompt_tail: str) -> Parser:
    """Make the parser of one answer, whose prompt ended with `prompt_tail`."""
    if dialect.is_harmony:
        return HarmonyParser(tools, prompt_tail=prompt_tail)
    return AnswerParser(dialect, tools, prompt_tail=prompt_tail)
