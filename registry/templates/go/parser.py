"""Go template text to its syntax tree, with Go's grammar and its error texts.

The grammar is that of Go 1.26's `text/template/parse`. Variables, functions, `break` and `continue` are checked here,
so that a tree that was parsed can only fail for its values. Blocks and parentheses nest at most `_DEEPEST` deep.
"""

from collections.abc import Callable

from actors.errors import TemplateFailed
from registry.templates.go import nodes
from registry.templates.go.literals import BadLiteral, character, number, unquote
from registry.templates.go.names import FUNCTIONS
from registry.templates.go.tokens import Kind, Token, tokens

_DEEPEST = 100
_NAMES = {Kind.DOT, Kind.FIELD, Kind.VARIABLE, Kind.WORD}
_READ: dict[Kind, Callable[[str], bool | int | float | str]] = {
    Kind.BOOL: lambda text: text == "true",
    Kind.CHARACTER: character,
    Kind.NUMBER: number,
    Kind.RAW: unquote,
    Kind.STRING: unquote,
}
_LITERALS = set(_READ)
_OPERANDS = _NAMES | _LITERALS | {Kind.OPEN}
_BRANCHES: dict[str, type[nodes.If | nodes.With | nodes.Range]] = {
    "if": nodes.If,
    "with": nodes.With,
    "range": nodes.Range,
}


def parse(text: str) -> nodes.Tree:
    """Parse a template.

    Raises:
        TemplateFailed: it has a syntax error; the reason names the line.
    """
    return _Parser(text).parse()


class _Parser:
    """One template being parsed."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._at = 0
        self._variables = ["$"]
        self._ranges = 0
        self._depth = 0
        self._definitions: dict[str, nodes.Body] = {}

    def parse(self) -> nodes.Tree:
        body: list[nodes.Node] = []
        while self._peek().kind is not Kind.EOF:
            if self._define():
                continue
            node = self._text_or_action()
            if isinstance(node, str):
                raise self._failure(f"unexpected {{{{{node}}}}}")
            body.append(node)
        return nodes.Tree(tuple(body), self._definitions)

    # Tokens.

    def _peek(self) -> Token:
        return self._tokens[min(self._at, len(self._tokens) - 1)]

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _skip_space(self) -> Token:
        while self._peek().kind is Kind.SPACE:
            self._at += 1
        return self._peek()

    def _next_word(self) -> Token:
        self._skip_space()
        return self._next()

    def _expect_right(self, context: str) -> None:
        token = self._next_word()
        if token.kind is not Kind.RIGHT:
            raise self._unexpected(token, context)

    def _takes_keyword(self, *words: str) -> str:
        """Pass over one of these keywords; empty when none is next."""
        token = self._skip_space()
        if token.kind is Kind.KEYWORD and token.text in words:
            self._at += 1
            return token.text
        return ""

    def _failure(self, what: str, line: int = 0) -> TemplateFailed:
        """Give the error for what is wrong here, or on a line."""
        shown = line or self._tokens[min(max(self._at - 1, 0), len(self._tokens) - 1)].line
        return TemplateFailed(f"template: :{shown}: {what}")

    def _unexpected(self, token: Token, context: str) -> TemplateFailed:
        if token.kind is Kind.ERROR:
            return self._failure(token.text, token.line)
        return self._failure(f"unexpected {token.shown} in {context}", token.line)

    # Text and blocks.

    def _define(self) -> bool:
        """Parse a definition, if one begins here: only the top level has them."""
        begin = self._at
        if self._next().kind is not Kind.LEFT or not self._takes_keyword("define"):
            self._at = begin
            return False
        name = self._name("define clause")
        self._expect_right("define clause")
        self._add(name, self._own_body("define clause"))
        return True

    def _own_body(self, context: str) -> nodes.Body:
        """Parse the body of a template of its own: it sees no variables but `$`, and no range."""
        outer, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        body, end = self._body()
        if end != "end":
            raise self._failure(f"unexpected {{{{{end}}}}} in {context}")
        self._variables, self._ranges = outer, ranges
        return body

    def _add(self, name: str, body: nodes.Body) -> None:
        if not _is_blank(self._definitions.get(name, ())):
            if not _is_blank(body):
                raise self._failure(f'multiple definition of template "{name}"')
            return
        self._definitions[name] = body

    def _body(self) -> tuple[nodes.Body, str]:
        """Parse up to an end or an else, and tell which."""
        if self._depth >= _DEEPEST:
            raise self._failure(f"blocks are nested deeper than {_DEEPEST}")
        self._depth += 1
        found: list[nodes.Node] = []
        while self._skip_space().kind is not Kind.EOF:
            node = self._text_or_action()
            if isinstance(node, str):
                self._depth -= 1
                return tuple(found), node
            found.append(node)
        raise self._failure("unexpected EOF", self._peek().line)

    def _text_or_action(self) -> nodes.Node | str:
        """Parse one node, or give the word of an end or an else."""
        token = self._next_word()
        if token.kind is Kind.TEXT:
            return nodes.Text(token.text)
        if token.kind is not Kind.LEFT:
            raise self._unexpected(token, "input")
        ending = self._takes_keyword("else", "end")
        if ending:
            if ending == "end" or self._skip_space().text not in ("if", "with"):
                self._expect_right(ending)
            return ending
        return self._control(token.line) or nodes.Action(self._pipe("command", Kind.RIGHT))

    def _control(self, line: int) -> nodes.Node | None:
        """Parse an action that begins with a keyword; None when this one does not."""
        word = self._takes_keyword("if", "with", "range", "template", "block", "break", "continue")
        if word in _BRANCHES:
            return self._branch(word)
        if word in ("break", "continue"):
            return self._leave(word)
        return self._call(word, line) if word else None

    def _branch(self, word: str) -> nodes.Node:
        scope = len(self._variables)
        pipe = self._pipe(word, Kind.RIGHT)
        self._ranges += word == "range"
        body, end = self._body()
        self._ranges -= word == "range"
        other: nodes.Body | None = None
        if end == "else":
            again = self._takes_keyword(word) if word != "range" else ""
            if again:
                if self._depth >= _DEEPEST:
                    raise self._failure(f"blocks are nested deeper than {_DEEPEST}")
                self._depth += 1
                other = (self._branch(again),)
                self._depth -= 1
            else:
                other, end = self._body()
                if end != "end":
                    raise self._failure(f"expected end; found {{{{{end}}}}}")
        del self._variables[scope:]
        return _BRANCHES[word](pipe, body, other)

    def _leave(self, word: str) -> nodes.Node:
        self._expect_right(f"{{{{{word}}}}}")
        if not self._ranges:
            raise self._failure(f"{{{{{word}}}}} outside {{{{range}}}}")
        return nodes.Break() if word == "break" else nodes.Continue()

    def _call(self, word: str, line: int) -> nodes.Node:
        context = f"{word} clause"
        name = self._name(context)
        if word == "template" and self._skip_space().kind is Kind.RIGHT:
            self._at += 1
            return nodes.Call(line, name, None)
        pipe = self._pipe(context, Kind.RIGHT)
        if word == "block":
            self._add(name, self._own_body(context))
        return nodes.Call(line, name, pipe)

    def _name(self, context: str) -> str:
        token = self._next_word()
        if token.kind not in (Kind.STRING, Kind.RAW):
            raise self._unexpected(token, context)
        return str(self._literal(token))

    # Pipelines.

    def _pipe(self, context: str, end: Kind) -> nodes.Pipe:
        line = self._skip_space().line
        declared, assigns = self._declarations(context)
        commands: list[nodes.Command] = []
        while True:
            token = self._next_word()
            if token.kind is end:
                break
            if token.kind not in _OPERANDS and token.text != "nil":
                raise self._unexpected(token, context)
            self._at -= 1
            commands.append(self._command())
        if not commands:
            raise self._failure(f"missing value for {context}")
        for stage, command in enumerate(commands[1:], start=2):
            first = command.operands[0]
            if isinstance(first, nodes.Constant | nodes.Nil) or first == nodes.Field():
                raise self._failure(f"non executable command in pipeline stage {stage}")
        return nodes.Pipe(line, tuple(commands), declared, assigns)

    def _declarations(self, context: str) -> tuple[tuple[str, ...], bool]:
        declared: list[str] = []
        while self._skip_space().kind is Kind.VARIABLE:
            begin = self._at
            name = self._next().text
            sign = self._skip_space()
            if sign.kind in (Kind.DECLARE, Kind.ASSIGN):
                self._at += 1
                self._variables.append(name)
                return (*declared, name), sign.kind is Kind.ASSIGN
            if sign.kind is not Kind.OTHER or sign.text != ",":
                self._at = begin
                break
            self._at += 1
            declared.append(name)
            self._variables.append(name)
            if context != "range" or len(declared) > 1:
                raise self._failure(f"too many declarations in {context}")
            if self._skip_space().kind not in (Kind.VARIABLE, Kind.RIGHT, Kind.CLOSE):
                raise self._failure("range can only initialize variables")
        return tuple(declared), False

    def _command(self) -> nodes.Command:
        operands: list[nodes.Operand] = []
        while True:
            self._skip_space()
            operand = self._operand()
            if operand is not None:
                operands.append(operand)
            token = self._next()
            if token.kind is Kind.SPACE:
                continue
            if token.kind in (Kind.RIGHT, Kind.CLOSE):
                self._at -= 1
            elif token.kind is not Kind.PIPE:
                raise self._unexpected(token, "operand")
            break
        if not operands:
            raise self._failure("empty command")
        return nodes.Command(tuple(operands))

    def _operand(self) -> nodes.Operand | None:
        node = self._term()
        if node is None or self._peek().kind is not Kind.FIELD:
            return node
        names: list[str] = []
        while self._peek().kind is Kind.FIELD:
            names.append(self._next().text[1:])
        match node:
            case nodes.Field(names=before) if before:
                return nodes.Field((*before, *names))
            case nodes.Variable(name=name, names=before):
                return nodes.Variable(name, (*before, *names))
            case nodes.Pipe() | nodes.Function():
                return nodes.Chain(node, tuple(names))
        raise self._failure("unexpected . after term")

    def _term(self) -> nodes.Operand | None:
        token = self._next_word()
        if token.kind is Kind.OPEN:
            return self._parenthesized()
        if token.kind in _NAMES:
            return self._named(token)
        if token.kind is Kind.KEYWORD and token.text == "nil":
            return nodes.Nil()
        if token.kind in _LITERALS:
            return nodes.Constant(self._literal(token))
        self._at -= 1
        return None

    def _named(self, token: Token) -> nodes.Operand:
        if token.kind is Kind.VARIABLE:
            if token.text not in self._variables:
                raise self._failure(f'undefined variable "{token.text}"', token.line)
            return nodes.Variable(token.text)
        if token.kind is Kind.WORD:
            if token.text not in FUNCTIONS:
                raise self._failure(f'function "{token.text}" not defined', token.line)
            return nodes.Function(token.text)
        return nodes.Field() if token.kind is Kind.DOT else nodes.Field((token.text[1:],))

    def _parenthesized(self) -> nodes.Pipe:
        if self._depth >= _DEEPEST:
            raise self._failure("max expression depth exceeded")
        self._depth += 1
        pipe = self._pipe("parenthesized pipeline", Kind.CLOSE)
        self._depth -= 1
        return pipe

    def _literal(self, token: Token) -> bool | int | float | str:
        try:
            return _READ[token.kind](token.text)
        except BadLiteral as error:
            raise self._failure(str(error), token.line) from error


def _is_blank(body: nodes.Body) -> bool:
    return all(isinstance(node, nodes.Text) and not node.text.strip() for node in body)
