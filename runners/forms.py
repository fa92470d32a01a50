"""Forms (`actors.messages.form`) as Lark grammars for one model's vocabulary.

Words are text, but for the control tokens in them: those are no text to llguidance, and are named by their ids.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from actors.errors import InvalidGrammar
from actors.messages.form import Form, OneOf, Pattern, Repeat, Row, Until, Value, Words, decode_form
from actors.messages.job import GrammarKind
from runners.schema_bounds import MOST_BYTES, check_bounds

_ANY_TEXT = r"/(.|\n)*/"
_KIND = GrammarKind.FORM.value


def lark_from_form(text: str, controls: Mapping[str, int], *, json_options: Mapping[str, Any]) -> str:
    """Translate a form.

    Args:
        text: the form as it travels.
        controls: the vocabulary's control tokens.
        json_options: llguidance's options for every JSON value in it.

    Raises:
        InvalidGrammar: it is too long or too deep, or a schema in it is over a bound.
    """
    if len(text) > MOST_BYTES:
        raise InvalidGrammar(_KIND, f"the tools have {len(text)} characters of schemas, {MOST_BYTES} are allowed")
    try:
        form = decode_form(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidGrammar(_KIND, "a schema is nested too deeply") from error
    return _Translation(controls, json_options).grammar(form)


class _Translation:
    """One form on its way; rules get numbers."""

    def __init__(self, controls: Mapping[str, int], json_options: Mapping[str, Any]) -> None:
        self._controls = controls
        self._json_options = json_options
        longest_first = sorted(filter(None, controls), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._rules: list[str] = []

    def grammar(self, form: Form) -> str:
        start = self._expression(form)
        return "\n".join([f"start: {start}", *self._rules])

    def _expression(self, form: Form) -> str:
        match form:
            case Words(text):
                found = self._words(text)
            case Pattern(regex):
                found = f"/{regex}/"
            case Value(schema):
                check_bounds(schema)
                found = f"%json {json.dumps({**schema, 'x-guidance': self._json_options})}"
            case Until(end) if self._control.search(end):  # free text stops before it anyway
                found = f"{self._rule(_ANY_TEXT)} {self._words(end)}"
            case Until(end):
                found = self._rule(_ANY_TEXT, f"[suffix={json.dumps(end)}]")
            case Row(parts):
                found = " ".join(map(self._expression, parts))
            case OneOf(forms):
                found = self._rule(" | ".join(map(self._expression, forms)))
            case Repeat():
                found = self._repeated(form)
        return found

    def _repeated(self, form: Repeat) -> str:
        once = self._rule(self._expression(form.form))
        if form.most > 1:
            more = self._rule(f"{self._words(form.between)} {once}")
            once = f"{once} {more}{{{max(0, form.least - 1)},{form.most - 1}}}"
        return once if form.least else f"({once})?"

    def _rule(self, expression: str, attributes: str = "") -> str:
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name}{attributes}: {expression}")
        return name

    def _words(self, text: str) -> str:
        found: list[str] = []
        position = 0
        for control in self._control.finditer(text):
            found += _literal(text[position : control.start()])
            found.append(f"<[{self._controls[control[0]]}]>")
            position = control.end()
        return " ".join([*found, *_literal(text[position:])])


def _literal(text: str) -> Sequence[str]:
    return [json.dumps(text, ensure_ascii=False)] if text else []
