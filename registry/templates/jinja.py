"""Rendering chats through Jinja templates, as transformers configures Jinja.

Templates come from model files and are hostile input: they run in Jinja's immutable sandbox, on deep copies, and the
sizes of template, input, intermediate products and output are bounded. The sandbox bounds neither time nor all memory,
so this belongs into a process that can be killed when it overruns.

Compiling takes about 10 ms, rendering 50 us; the last `_N_COMPILED` templates stay compiled.
"""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from actors.errors import TemplateFailed

_N_COMPILED = 32
_LONGEST_TEMPLATE = 1 << 20  # characters; the longest in use has 60,000
_LONGEST_OUTPUT = 64 << 20  # characters; a context of 10 million tokens
_LARGEST_PRODUCT = 64 << 20
_LARGEST_INTEGER_BITS = 4096
_WORD_BITS = 64
_EXPONENT_BITS = 6


class _Generation(Extension):
    """The `generation` tag, which marks the assistant's text for training; here it shows its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Code(CodeGenerator):
    """Compiles `a ~ b` into a call of the sandbox, which bounds the result; Jinja's own has no hook for it."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's naming
        self.write("environment.concatenated((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Sandbox(ImmutableSandboxedEnvironment):
    """The immutable sandbox, with bounded products: `'x' * 2e9` must not take the memory it asks for."""

    code_generator_class = _Code
    intercepted_binops = frozenset({"*", "**", "+"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not (_bits(left) <= _WORD_BITS and _bits(right) <= _EXPONENT_BITS):
            raise SecurityError("a power is too large")
        if operator == "*" and (
            _bits(left) + _bits(right) > _LARGEST_INTEGER_BITS or _repeated(left, right) > _LARGEST_PRODUCT
        ):
            raise SecurityError("a product is too large")
        if operator == "+" and _length(left) + _length(right) > _LARGEST_PRODUCT:
            raise SecurityError("a sum is too large")
        return super().call_binop(context, operator, left, right)

    def concatenated(self, parts: tuple[Any, ...]) -> str:
        """Join the operands of `~`."""
        texts = [str(part) for part in parts]
        if sum(map(len, texts)) > _LARGEST_PRODUCT:
            raise SecurityError("a sum is too large")
        return "".join(texts)


def render_chat(
    template: str,
    *,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    bos_token: str = "",
    eos_token: str = "",
    add_generation_prompt: bool = True,
    variables: Mapping[str, Any] | None = None,
) -> str:
    """Render a conversation.

    Args:
        template: the Jinja text.
        messages: dictionaries with `role` and `content`, further keys as the template expects them.
        tools: tool definitions; none is given to the template as null.
        bos_token: text of the model's first token.
        eos_token: text of the model's last token.
        add_generation_prompt: whether to end with the beginning of an assistant's turn.
        variables: further values, such as `enable_thinking`; they win over those above.

    Raises:
        TemplateFailed: the template does not compile, raised an error itself, or overran a bound.
    """
    values = {
        "messages": list(messages),
        "tools": list(tools) or None,
        "bos_token": bos_token,
        "eos_token": eos_token,
        "add_generation_prompt": add_generation_prompt,
        **(variables or {}),
    }
    compiled = _compiled(template)
    try:
        return _bounded(compiled, copy.deepcopy(values))
    except TemplateFailed:
        raise
    except TemplateError as error:
        raise TemplateFailed(str(error.message or type(error).__name__)) from error
    except MemoryError as error:
        raise TemplateFailed("it needs too much memory") from error
    except Exception as error:  # a template can raise whatever its expressions raise
        raise TemplateFailed(f"{type(error).__name__}: {error}") from error


def check_template(template: str) -> None:
    """Compile a template without rendering it.

    Raises:
        TemplateFailed: it does not compile.
    """
    _compiled(template)


def _bounded(compiled: Template, values: dict[str, Any]) -> str:
    pieces = []
    left = _LONGEST_OUTPUT
    for piece in compiled.generate(values):
        left -= len(piece)
        if left < 0:
            raise TemplateFailed(f"it writes more than {_LONGEST_OUTPUT} characters")
        pieces.append(piece)
    return "".join(pieces)


@lru_cache(maxsize=_N_COMPILED)
def _compiled(template: str) -> Template:
    if len(template) > _LONGEST_TEMPLATE:
        raise TemplateFailed(f"it is longer than {_LONGEST_TEMPLATE} characters")
    try:
        return _environment().from_string(template)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise TemplateFailed(f"{error.message}" + (f" (line {line})" if line else "")) from error
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
        raise TemplateFailed(f"it cannot be compiled ({type(error).__name__})") from error


@lru_cache(maxsize=1)
def _environment() -> _Sandbox:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.filters["from_json"] = json.loads
    functions: dict[str, Callable[..., Any]] = {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "from_json": json.loads,
    }
    environment.globals.update(functions)
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - transformers' signature, which templates rely on
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Encode as JSON without escaping for HTML, which Jinja's own filter does."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().astimezone().strftime(layout)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | list | tuple) else 0


def _repeated(left: Any, right: Any) -> int:
    """Give the length of a product of something with a length and a number; 0 for other products."""
    if isinstance(left, int):
        return left * _length(right)
    return right * _length(left) if isinstance(right, int) else 0


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 0
