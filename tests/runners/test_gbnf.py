"""GBNF: what it accepts is what llama.cpp's own matcher accepts."""

import ctypes
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as native
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLParserLimits

from actors.errors import InvalidGrammar
from actors.messages.model import LoadPlan
from runners.gbnf import lark_from_gbnf
from runners.grammar import Vocabulary
from runners.llama.binding import start_backend
from runners.llama.model import Model

GRAMMARS = (
    'root ::= "yes" | "no"',
    'root ::= [a-c]* "ab" # runs into its own end\n',
    'root ::= ("a" | "bc"){2,3} "c"?',
    "root ::= item+\nitem ::= [^a\\n] | [a]{2}",
    'root ::= ws "a" ws\nws ::= [ab] ws |',
    'root ::= (\n  "a"\n  | "b" "c"*\n) .',
    'root ::= "\\x61" "\\u0062" ("\\"" | "c")',
    'root ::= x x\nx ::= "a" x "b" | "a" x "c" | "c"',
    'root ::= <[A]> !<[B]>* "c"?',
    'root ::= "\\u00e9"? "\\U00000061" [\\x62-\\u0063]+ "\\r"? "\\t"{0,1} # all escapes',
    'root ::= "a"{0,2} "b"{1,} [^\\]c] | "" # a bracket in a class, an empty text',
)


class Judges:
    """Both matchers over one vocabulary."""

    def __init__(self, path: Path) -> None:
        start_backend()
        self.model = Model(str(path), LoadPlan(num_ctx=64, n_slots=1))
        self._vocabulary = Vocabulary(self.model)
        self._tokens = {piece: token for token, piece in enumerate(self._vocabulary.pieces) if len(piece) == 1}

    def ours(self, grammar: str, text: str) -> bool:
        """Whether llguidance takes a translated grammar's text as a whole."""
        source = LLMatcher.grammar_from_lark(lark_from_gbnf(grammar))
        matcher = LLMatcher(
            self._vocabulary.tokenizer, source, log_level=0, limits=LLParserLimits(step_max_items=250_000)
        )
        assert not matcher.is_error(), matcher.get_error()
        tokens = [self._tokens[character.encode()] for character in text]
        return bool(matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens)) and bool(
            matcher.is_accepting()
        )

    def theirs(self, grammar: str, text: str) -> bool:
        """Whether llama.cpp takes a text as a whole."""
        sampler = native.llama_sampler_init_grammar(self.model.vocab, grammar.encode(), b"root")
        assert sampler
        try:
            for character in text:
                if not self._allows(sampler, self._tokens[character.encode()]):
                    return False
                native.llama_sampler_accept(sampler, self._tokens[character.encode()])
            return self._allows(sampler, self.model.ends[0])
        finally:
            native.llama_sampler_free(sampler)

    def token(self, text: str) -> int:
        """Give the token of a letter."""
        return self._tokens[text.encode()]

    @staticmethod
    def _allows(sampler: Any, token: int) -> bool:
        candidate = native.llama_token_data(token, 1.0, 0.0)
        array: Any = native.llama_token_data_array(ctypes.pointer(candidate), 1, -1, False)  # noqa: FBT003
        native.llama_sampler_apply(sampler, ctypes.byref(array))
        return bool(array.data[0].logit > -1.0)


@pytest.fixture(scope="module")
def judges(tiny_gguf: Path) -> Judges:
    """The tiny model's vocabulary."""
    return Judges(tiny_gguf)


@pytest.mark.model
@pytest.mark.parametrize("grammar", GRAMMARS)
def test_gbnf_accepts_what_llama_cpp_accepts(judges: Judges, grammar: str) -> None:
    """Every text of up to six letters gets the same verdict from both matchers."""
    grammar = grammar.replace("[A]", f"[{judges.token('a')}]").replace("[B]", f"[{judges.token('b')}]")
    seen = set()

    @settings(max_examples=60, deadline=None)
    @given(text=st.text(alphabet='abc"\nyesno', max_size=6) | st.text(alphabet="abc", max_size=6))
    def check(text: str) -> None:
        verdict = judges.theirs(grammar, text)
        assert judges.ours(grammar, text) == verdict
        seen.add(verdict)

    check()
    assert False in seen


@pytest.mark.model
def test_gbnf_of_an_ambiguous_grammar_stays_quick(judges: Judges) -> None:
    """A grammar on which llama.cpp's matcher doubles its state with every character is matched all the same."""
    grammar = 'root ::= a\na ::= "x" a b | "x" a c | "x"\nb ::= "y"\nc ::= "y"'
    assert judges.ours(grammar, "x" * 200 + "y" * 199)


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ("", "no rule named root"),
        ('a ::= "b"', "no rule named root"),
        ("root ::= b", "the rule b is used but not defined"),
        ('root = "a"', "line 1: expected ::="),
        ('\n\nroot ::= "a', "line 3: unexpected end"),
        ("root ::= [a", "line 1: unexpected end"),
        ("root ::= []", "a class of no characters"),
        ('root ::= "\\q"', "unknown escape"),
        ('root ::= ("a"', "expected '\\)'"),
        ('root ::= "a")', "unexpected '\\)'"),
        ('root ::= "a"{3,2}', "fewer repetitions at most than at least"),
        ('root ::= "a"{x}', "expected a number of repetitions"),
        ('root ::= "a"{1000000}', "more than 2000 repetitions"),
        ("root ::= " + "(" * 5000 + '"a"' + ")" * 5000, "nested deeper than 64 levels"),
        ("root ::= !<x>", "may not come is written by its number"),
        ("root ::= !x", "expected a token"),
        ("root ::= " + '"a" ' * 30_000, "120009 characters, 65536 are allowed"),
    ],
)
def test_gbnf_that_is_wrong_is_refused_with_its_line(grammar: str, reason: str) -> None:
    """Whoever wrote it can find the place."""
    with pytest.raises(InvalidGrammar, match=reason):
        lark_from_gbnf(grammar)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='root :=ab"[]()|*+?{}1,.\\^-<>!#\n', max_size=40).map(lambda text: "root ::= " + text))
def test_gbnf_of_any_text_is_a_grammar_or_the_error(grammar: str) -> None:
    """No text ends the reader otherwise."""
    try:
        assert lark_from_gbnf(grammar).startswith("start: ")
    except InvalidGrammar as error:
        assert error.message.startswith("invalid format (gbnf): ")  # noqa: PT017  # both ends are fine
