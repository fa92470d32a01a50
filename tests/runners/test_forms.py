"""Forms as grammars of a real vocabulary: what they let through, token by token."""

from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidGrammar
from actors.messages.form import Form, OneOf, Pattern, Repeat, Row, Until, Value, Words, encode_form
from actors.messages.job import Grammar, GrammarKind
from actors.messages.model import LoadPlan
from runners.forms import lark_from_form
from runners.grammar import GrammarCompiler
from runners.llama.binding import start_backend
from runners.llama.model import Model
from runners.tokenizer import Tokenizer

pytestmark = pytest.mark.model

CONTROL = "<|im_start|>"
CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = Row(
    (
        Words(f"{CONTROL}call:"),
        OneOf((Words("a"), Words("bc"))),
        Repeat(Pattern(r"[ \n]{1,3}"), least=0),
        Value(CITY),
        Repeat(Row((Words("<p>"), Until("</p>"))), between=",", least=0, most=2),
        Words(CONTROL),
    )
)


class Rig:
    """A vocabulary, and its compiler."""

    def __init__(self, path: Path) -> None:
        start_backend()
        self.model = Model(str(path), LoadPlan(num_ctx=64, n_slots=1))
        self._tokenizer = Tokenizer(self.model)
        self._compiler = GrammarCompiler(self._tokenizer)

    def takes(self, form: Form, text: str, *, parse_special: bool = True) -> bool:
        """Tell whether a form lets a text through, to its end."""
        grammar = Grammar(kind=GrammarKind.FORM, text=encode_form(form))
        constraint = self._compiler._find(grammar.kind, grammar.text).constraint(grammar, prompt_tail="")
        for token in self.model.tokenize(text, add_special=False, parse_special=parse_special):
            if not constraint.admits(token):
                return False
            constraint.accept(token)
        return constraint.is_satisfied

    def close(self) -> None:
        """Give all back."""
        self._tokenizer.close()
        self.model.close()


@pytest.fixture(scope="module")
def rig(tiny_gguf: Path) -> Any:
    """The tiny model's vocabulary."""
    rig = Rig(tiny_gguf)
    yield rig
    rig.close()


@pytest.mark.parametrize(
    ("body", "is_taken"),
    [
        ('a{"city": "Paris"}', True),
        ('bc\n {"city": "Paris"}', True),
        ('a{"city": "Paris"}<p>x < y</p>', True),
        ('a{"city": "Paris"}<p></p>,<p>two\nlines</p>', True),
        ('b{"city": "Paris"}', False),
        ('a    {"city": "Paris"}', False),
        ('a{"city": 1}', False),
        ('a{"city": "Paris"}<p>1</p>,<p>2</p>,<p>3</p>', False),
        ('a{"city": "Paris"}<p>open', False),
    ],
)
def test_form_lets_through_what_it_says(rig: Rig, body: str, is_taken: bool) -> None:  # noqa: FBT001  # a column of a table
    """Words, alternatives, repetitions, values by schema and text up to its end."""
    assert rig.takes(CALL, f"{CONTROL}call:{body}{CONTROL}") is is_taken


def test_form_s_control_tokens_are_tokens(rig: Rig) -> None:
    """Where the words spell one, its own token must come; the same characters as text are none."""
    whole = f'{CONTROL}call:a{{"city": "x"}}{CONTROL}'
    assert rig.takes(CALL, whole)
    assert not rig.takes(CALL, whole, parse_special=False)
    free = Row((Until(CONTROL), Words("!")))
    assert rig.takes(free, f"any text{CONTROL}!")
    assert not rig.takes(free, "any text!")


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string", "maxLength": 10**9}, "json_schema.*maxLength is over"),
        ({"description": "x" * (129 << 10)}, "tool_choice.*characters of schemas"),
        ({"not": {"type": "string"}, "minProperties": 1}, "tool_choice.*unsupported keyword"),
    ],
)
def test_form_with_a_schema_that_cannot_be_used_names_why(rig: Rig, schema: dict[str, Any], text: str) -> None:
    """The error names the keyword, and that it is about the tools that were forced where that is not clear."""
    with pytest.raises(InvalidGrammar, match=text):
        rig.takes(Value(schema), "x")


def test_form_too_deep_is_refused() -> None:
    """A schema of a thousand levels ends in an error, not in the stack."""
    deep = '{"type":"value","schema":' + '{"items":' * 2000 + "{}" + "}" * 2001
    with pytest.raises(InvalidGrammar, match="nested"):
        lark_from_form(deep, {}, json_options={})
