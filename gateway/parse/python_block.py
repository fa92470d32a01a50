"""Calls written as Python: `[get_weather(city="Paris"), add(1, b=2)]`, or one call per line.

The text is parsed, never run; only literals count as values.
"""

import ast
import warnings
from typing import Any

from gateway.parse.block_calls import Calls, as_json
from gateway.parse.reader import NotACallError
from gateway.parse.tools import DeclaredTools

_LONGEST_CODE = 16 << 10
"""Python's own parser takes a millisecond for so much."""
_WORDS = {"true": True, "false": False, "null": None}
_CODE_TOOLS = ("python", "ipython", "code_interpreter")


def read_python(block: str, tools: DeclaredTools) -> Calls:
    """Read the calls of a section.

    Raises:
        NotACallError: it is anything else than calls with literal arguments.
    """
    if len(block) > _LONGEST_CODE:
        raise NotACallError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(block.strip())
        return [_call(node, tools) for statement in module.body for node in _calls_of(statement)]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise NotACallError from error


def read_code(block: str, tools: DeclaredTools) -> Calls:
    """Read what follows a Python tag: calls, or code for the tool that runs it.

    Raises:
        NotACallError: it is code, and there is no such tool.
    """
    try:
        calls = read_python(block, tools)
    except NotACallError:
        calls = []
    if calls and all(name in tools for name, _ in calls):
        return calls
    runner = next((name for name in _CODE_TOOLS if name in tools), None)
    if runner is None or not block.strip():
        raise NotACallError
    return [(runner, as_json({"code": block.strip()}))]


def _calls_of(statement: ast.stmt) -> list[ast.expr]:
    if not isinstance(statement, ast.Expr):
        raise NotACallError
    value = statement.value
    return list(value.elts) if isinstance(value, ast.List | ast.Tuple) else [value]


def _call(node: ast.expr, tools: DeclaredTools) -> tuple[str, str]:
    if not isinstance(node, ast.Call):
        raise NotACallError
    name = _name(node.func).removesuffix(".call")
    properties = tools.parameters(name).get("properties")
    parameters = list(properties) if isinstance(properties, dict) else []
    if len(node.args) > len(parameters):
        raise NotACallError
    arguments = {key: _value(value) for key, value in zip(parameters, node.args, strict=False)}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise NotACallError
        arguments[keyword.arg] = _value(keyword.value)
    return name, as_json(arguments)


def _value(node: ast.expr) -> Any:
    """Give a literal's value, where the words of JSON count as Python's."""
    return ast.literal_eval(_JsonWords().visit(node))


class _JsonWords(ast.NodeTransformer):
    """Puts constants in the place of `true`, `false` and `null`."""

    def visit_Name(self, node: ast.Name) -> ast.expr:  # ast's own name for it
        return ast.Constant(_WORDS[node.id]) if node.id in _WORDS else node


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    raise NotACallError
