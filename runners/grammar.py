"""Grammars, compiled: from the text of a request to a matcher of tokens, by llguidance.

A compilation runs on the tokenizer thread before its job takes a slot, within llguidance's own limits on work and
memory, so that a hostile grammar ends in an error. Its result is a template, which jobs copy (2 µs). The last
`_MOST_REMEMBERED` are kept. The table of the vocabulary that they share takes 0.2 s to make, at the first grammar.

A grammar that nothing can satisfy shows at its first mask, so that one is computed at once; it also warms the caches
that the copies share.
"""

import collections
import re
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from actors.errors import InvalidGrammar
from actors.messages.job import Grammar, GrammarKind
from runners.constraint import Constraint, Mask
from runners.forms import lark_from_form
from runners.gbnf import lark_from_gbnf
from runners.llama.model import Model
from runners.llama.tokenizer_table import llguidance_tokenizer
from runners.schema_bounds import checked_schema
from runners.tokenizer import Tokenizer

_MOST_REMEMBERED = 64
_MOST_CHARS = {GrammarKind.REGEX: 16 << 10, GrammarKind.LARK: 64 << 10}
_SHOWN_CHARS = 300
_JSON_OPTIONS: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One way to write a value: a model that may choose its white space may choose it for ever."""
_UNSUPPORTED = re.compile(r"Unimplemented keys: \[(.*)\]")


class CompiledGrammar:
    """A grammar that every job copies; immutable."""

    def __init__(self, template: LLMatcher, kind: GrammarKind, vocabulary: "Vocabulary") -> None:
        self._template = template
        self._kind = kind
        self._vocabulary = vocabulary

    def constraint(self, grammar: Grammar, *, prompt_tail: str) -> Constraint:
        """Give a job the grammar's state at the beginning of its answer."""
        matcher = GuidedMatcher(self._template.deep_copy(), self._kind, self._vocabulary)
        return Constraint(grammar, matcher, self._vocabulary.pieces, prompt_tail=prompt_tail)


class Vocabulary:
    """A model's tokens in llguidance's form; immutable."""

    def __init__(self, model: Model) -> None:
        """Make the tables; for the tokenizer thread, as this calls llama.cpp for every token."""
        self.pieces = model.pieces()
        self.controls = {
            piece.decode("utf-8", "replace"): token
            for token, piece in enumerate(self.pieces)
            if model.is_control(token)
        }
        self.tokenizer: LLTokenizer = llguidance_tokenizer(model, self.pieces)


class GuidedMatcher:
    """The state of one job's grammar; owned by the decode thread."""

    def __init__(self, matcher: LLMatcher, kind: GrammarKind, vocabulary: Vocabulary) -> None:
        self._matcher = matcher
        self._kind = kind.value
        self._tokenizer = vocabulary.tokenizer
        self._n_vocab = len(vocabulary.pieces)

    @property
    def is_accepting(self) -> bool:
        """Whether what was consumed is a whole."""
        return self._matcher.is_accepting()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing but the end can follow."""
        return self._matcher.is_stopped()

    def admits(self, token: int) -> bool:
        """Tell whether a token may follow."""
        return self._matcher.validate_tokens([token]) == 1

    def admits_text(self, text: bytes) -> bool:
        """Tell whether text may follow."""
        tokens = self._tokenizer.tokenize_bytes(text)
        return self._matcher.validate_tokens(tokens) == len(tokens)

    def mask(self) -> Mask:
        """Give every token that may follow.

        Raises:
            InvalidGrammar: the grammar got too complex to say.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        return np.unpackbits(bits, count=self._n_vocab, bitorder="little").view(np.bool_)

    def take(self, token: int) -> bool:
        """Consume a token if it may follow."""
        return self._matcher.try_consume_tokens([token]) == 1

    def consume(self, token: int) -> None:
        """Take a token.

        Raises:
            InvalidGrammar: it does not fit.
        """
        self._matcher.consume_token(token)
        self._check()

    def consume_text(self, text: bytes) -> None:
        """Take text.

        Raises:
            InvalidGrammar: it does not fit.
        """
        self._matcher.consume_tokens(self._tokenizer.tokenize_bytes(text))
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise InvalidGrammar(self._kind, _shortened(self._matcher.get_error()))


class GrammarCompiler:
    """Compiles the grammars of one model; for the trio thread."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._vocabulary: Vocabulary | None = None  # this and the next: used on the tokenizer thread only
        self._compiled: collections.OrderedDict[tuple[GrammarKind, str], CompiledGrammar] = collections.OrderedDict()

    async def compile(self, grammar: Grammar) -> CompiledGrammar:
        """Compile a grammar, or find it among those compiled before.

        Raises:
            InvalidGrammar: it is wrong, unsupported or too complex.
        """
        return await self._tokenizer.run(lambda: self._find(grammar.kind, grammar.text))

    def _find(self, kind: GrammarKind, text: str) -> CompiledGrammar:
        key = (kind, text)
        compiled = self._compiled.pop(key, None) or self._compile(kind, text)
        self._compiled[key] = compiled
        while len(self._compiled) > _MOST_REMEMBERED:
            self._compiled.popitem(last=False)
        return compiled

    def _compile(self, kind: GrammarKind, text: str) -> CompiledGrammar:
        is_form = kind is GrammarKind.FORM
        source = "" if is_form else grammar_source(kind, text)
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(self._tokenizer.model)
        if is_form:
            lark = lark_from_form(text, self._vocabulary.controls, json_options=_JSON_OPTIONS)
            source = LLMatcher.grammar_from_lark(lark)
        template = LLMatcher(self._vocabulary.tokenizer, source, log_level=0, limits=_limits())
        first = template if template.is_error() else template.deep_copy()
        mask = first.compute_bitmask()
        if first.is_error():
            raise InvalidGrammar(kind.value, _shortened(first.get_error()))
        if not any(mask):
            raise InvalidGrammar(kind.value, "no text of this model's tokens can satisfy it")
        return CompiledGrammar(template, kind, self._vocabulary)


def grammar_source(kind: GrammarKind, text: str) -> str:
    """Give a grammar in the form that llguidance compiles, checked as far as that needs no compilation.

    Raises:
        InvalidGrammar: it is too long, or breaks what is checked here.
    """
    most = _MOST_CHARS.get(kind)
    if most is not None and len(text) > most:
        raise InvalidGrammar(kind.value, f"it has {len(text)} characters, {most} are allowed")
    match kind:
        case GrammarKind.JSON_SCHEMA:
            try:
                return LLMatcher.grammar_from_json_schema(checked_schema(text), overrides=_JSON_OPTIONS)
            except ValueError as error:
                raise InvalidGrammar(kind.value, _shortened(str(error))) from error
        case GrammarKind.REGEX:
            return LLMatcher.grammar_from_regex(text)
        case GrammarKind.LARK:
            return LLMatcher.grammar_from_lark(text)
    return LLMatcher.grammar_from_lark(lark_from_gbnf(text))


def _limits() -> LLParserLimits:
    # Time and memory of one step and one grammar; the rest of llguidance's defaults are low enough.
    return LLParserLimits(step_max_items=250_000, max_lexer_states=50_000, verbose_errors=False)


def _shortened(reason: str) -> str:
    """Give the part of llguidance's message that a caller can act on: one line, the keyword in it."""
    unsupported = _UNSUPPORTED.search(reason)
    if unsupported is not None:
        return f"unsupported keyword: {unsupported[1]}"
    if reason.startswith("oneOf constraints"):
        return "unsupported keyword: oneOf whose branches overlap; use anyOf"
    line = " ".join(reason.replace("<non-verbose/>", "").split())
    return line[:_SHOWN_CHARS] + "…" * (len(line) > _SHOWN_CHARS)
