"""Expressions of Go templates, compiled to Python closures.

A closure is called with the state and the dot. Variables have their slot in the state before anything runs. What Go
would refuse at run time, such as a field of a string, raises `TemplateFailed` when it is evaluated.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from actors.errors import TemplateFailed
from registry.templates.go import nodes
from registry.templates.go.functions import FUNCTIONS
from registry.templates.go.state import Evaluate, State
from registry.templates.go.values import MISSING, Missing, Struct, is_true, type_name


class Scope:
    """The variables in sight while a body is compiled, and how many slots it needs."""

    def __init__(self) -> None:
        self._names: list[tuple[str, int]] = [("$", 0)]
        self.n_slots = 1

    def declare(self, name: str) -> int:
        """Give a new variable its slot."""
        slot = self.n_slots
        self.n_slots += 1
        self._names.append((name, slot))
        return slot

    def slot(self, name: str) -> int | None:
        """Find a variable's slot; the last declaration wins."""
        return next((slot for known, slot in reversed(self._names) if known == name), None)

    def mark(self) -> int:
        """Remember what is in sight."""
        return len(self._names)

    def release(self, mark: int) -> None:
        """Forget what was declared since."""
        del self._names[mark:]


def compile_pipe(pipe: nodes.Pipe, scope: Scope, *, declares: bool = True) -> Evaluate:
    """Compile a pipeline; `declares` tells whether it stores what it declares itself (a range does not)."""
    value = _command(pipe.commands[0], scope, None)
    for command in pipe.commands[1:]:
        value = _command(command, scope, value)
    if not declares or not pipe.declared:
        return value
    slots = declared_slots(pipe, scope)
    if slots is None:
        return failing(f"undefined variable: {pipe.declared[0]}")

    def store(state: State, dot: Any) -> Any:
        found = value(state, dot)
        if found is None:
            found = MISSING
        for slot in slots:
            state.variables[slot] = found
        return found

    return store


def declared_slots(pipe: nodes.Pipe, scope: Scope) -> list[int] | None:
    """Give the slots of the variables that a pipeline sets; None when it assigns one that is not in sight."""
    if not pipe.assigns:
        return [scope.declare(name) for name in pipe.declared]
    found = [scope.slot(name) for name in pipe.declared]
    return None if None in found else [slot for slot in found if slot is not None]


def _command(command: nodes.Command, scope: Scope, before: Evaluate | None) -> Evaluate:
    """Compile a command; `before` gives its last argument."""
    first, *rest = command.operands
    if isinstance(first, nodes.Function):
        return _function(first, [_operand(one, scope) for one in rest], before)
    if isinstance(first, nodes.Nil):
        return failing("nil is not a command")
    if rest or before is not None:
        return failing(f"can't give argument to non-function {_shown(first)}")
    return _operand(first, scope)


def _operand(node: nodes.Operand, scope: Scope) -> Evaluate:
    if isinstance(node, nodes.Constant | nodes.Nil):
        value = node.value if isinstance(node, nodes.Constant) else None
        return lambda _state, _dot: value
    match node:
        case nodes.Field(names=names):
            return _field_of_dot(names)
        case nodes.Variable(name=name, names=names):
            return _variable(name, names, scope)
        case nodes.Function():
            return _function(node, [], None)
        case nodes.Chain(node=inner, names=names):
            return _fields(_concrete(_operand(inner, scope)), names)
        case nodes.Pipe():
            return compile_pipe(node, scope)


def _field_of_dot(names: tuple[str, ...]) -> Evaluate:
    if not names:
        return lambda _state, dot: dot
    if len(names) > 1:
        return _fields(_field_of_dot(names[:1]), names[1:])
    name = names[0]

    def field(_state: State, dot: Any) -> Any:
        if isinstance(dot, dict):
            value = dot.get(name, MISSING)
            if value is not MISSING or not isinstance(dot, Struct):
                return value
        return _no_field(dot, name)

    return field


def _variable(name: str, names: tuple[str, ...], scope: Scope) -> Evaluate:
    slot = scope.slot(name)
    if slot is None:
        return failing(f"undefined variable: {name}")
    if names:
        return _fields(lambda state, _dot: state.variables[slot], names)
    return lambda state, _dot: state.variables[slot]


def _fields(value: Evaluate, names: tuple[str, ...]) -> Evaluate:
    def chain(state: State, dot: Any) -> Any:
        found = value(state, dot)
        for name in names:
            if isinstance(found, dict):
                inner = found.get(name, MISSING)
                found = _no_field(found, name) if inner is MISSING and isinstance(found, Struct) else inner
            else:
                found = _no_field(found, name)
        return found

    return chain


def _concrete(value: Evaluate) -> Evaluate:
    """Give what makes a pipeline's nil the value of a missing key, as Go does."""

    def concrete(state: State, dot: Any) -> Any:
        found = value(state, dot)
        return MISSING if found is None else found

    return concrete


def _no_field(value: Any, name: str) -> Missing:
    if isinstance(value, Missing):
        return MISSING
    if value is None:
        raise TemplateFailed(f"nil pointer evaluating interface {{}}.{name}")
    raise TemplateFailed(f"can't evaluate field {name} in type {type_name(value)}")


def _function(node: nodes.Function, arguments: list[Evaluate], before: Evaluate | None) -> Evaluate:
    name = node.name
    if name in ("and", "or"):
        return _logic(name, arguments, before)
    if before is not None:
        arguments = [*arguments, before]
    call, fewest, most = FUNCTIONS[name]
    if len(arguments) < fewest or (most is not None and len(arguments) > most):
        least = "at least " if most is None else ""
        return failing(f"wrong number of args for {name}: want {least}{fewest} got {len(arguments)}")
    return _applied(call, arguments)


def _applied(call: Callable[..., Any], arguments: list[Evaluate]) -> Evaluate:
    """Compile a call; one and two arguments, the most frequent, without a list."""
    if len(arguments) == 1:
        (only,) = arguments
        return lambda state, dot: call(state.budget, only(state, dot))
    if len(arguments) == 2:  # noqa: PLR2004
        first, second = arguments
        return lambda state, dot: call(state.budget, first(state, dot), second(state, dot))
    return lambda state, dot: call(state.budget, *[argument(state, dot) for argument in arguments])


def _logic(name: str, arguments: list[Evaluate], before: Evaluate | None) -> Evaluate:
    """Compile `and` or `or`: they stop early, except that what a pipeline gives them was evaluated already."""
    if not arguments and before is None:
        return failing(f"wrong number of args for {name}: want at least 1 got 0")
    stops_at = name == "or"

    def logic(state: State, dot: Any) -> Any:
        value = last = before(state, dot) if before is not None else None
        for argument in arguments:
            value = argument(state, dot)
            if is_true(value) is stops_at:
                return value
        return value if before is None else last

    return logic


def failing(reason: str) -> Evaluate:
    """Give an expression that fails when it is evaluated, which it need not be."""

    def fail(_state: State, _dot: Any) -> NoReturn:
        raise TemplateFailed(reason)

    return fail


def _shown(node: nodes.Operand) -> str:
    match node:
        case nodes.Field(names=names):
            return "." + ".".join(names)
        case nodes.Variable(name=name, names=names):
            return ".".join((name, *names))
        case nodes.Constant(value=value):
            return f"{value}"
    return "(...)"
