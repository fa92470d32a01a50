"""Bodies of Go templates, compiled to Python closures: text, actions, branches, ranges and calls.

Compiling takes some 100 us, and what it gives can be run any number of times, also at once. Each list of nodes that
runs costs its length in steps.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from actors.errors import TemplateFailed
from registry.templates.go import nodes
from registry.templates.go.expressions import Scope, compile_pipe, declared_slots, failing
from registry.templates.go.identifiers import pipe_of
from registry.templates.go.printing import plain, printed
from registry.templates.go.state import BREAK, CONTINUE, Evaluate, Execute, Routine, Signal, State
from registry.templates.go.values import MISSING, Missing, Struct, is_true, type_name


def compile_tree(tree: nodes.Tree) -> tuple[Routine, dict[str, Routine]]:
    """Compile a template and those that it defines."""
    return _routine(tree.body), {name: _routine(body) for name, body in tree.definitions.items()}


def _routine(body: nodes.Body) -> Routine:
    scope = Scope()
    execute = _list(body, scope)
    return Routine(execute, scope.n_slots)


def _list(body: nodes.Body, scope: Scope) -> Execute:
    statements = [_statement(node, scope) for node in body]
    lines = {statement: _line(node) for statement, node in zip(statements, body, strict=True)}
    steps = len(statements)

    def run(state: State, dot: Any) -> Signal | None:
        state.budget.spend(steps)
        statement = None
        try:
            for statement in statements:
                signal = statement(state, dot)
                if signal is not None:
                    return signal
        except TemplateFailed as error:
            reason = str(error.fields["reason"])
            if statement is None or reason.startswith("template: :"):
                raise
            raise TemplateFailed(f"template: :{lines[statement]}: {reason}") from error
        return None

    return run


def _line(node: nodes.Node) -> int:
    if isinstance(node, nodes.Call):
        return node.line
    pipe = pipe_of(node)
    return pipe.line if pipe else 1


def _statement(node: nodes.Node, scope: Scope) -> Execute:
    match node:
        case nodes.Text(text=text):
            return lambda state, _dot: state.write(text)
        case nodes.Break() | nodes.Continue():
            signal = BREAK if isinstance(node, nodes.Break) else CONTINUE
            return lambda _state, _dot: signal
        case nodes.Action(pipe=pipe):
            return _action(pipe, scope)
        case nodes.Call():
            return _call(node, scope)
    return _branch(node, scope)


def _branch(node: nodes.Branch, scope: Scope) -> Execute:
    if isinstance(node, nodes.If):
        return _if(node, scope)
    return _with(node, scope) if isinstance(node, nodes.With) else _range(node, scope)


def _action(pipe: nodes.Pipe, scope: Scope) -> Execute:
    value = compile_pipe(pipe, scope)

    def show(state: State, dot: Any) -> None:
        found = value(state, dot)
        state.write(found if type(found) is str else printed(found))

    def store(state: State, dot: Any) -> None:
        value(state, dot)

    return store if pipe.declared else show


def _branches(node: nodes.Branch, scope: Scope) -> tuple[Execute, Execute | None]:
    """Compile a block's two lists; what one declares is not in sight of the other."""
    mark = scope.mark()
    body = _list(node.body, scope)
    scope.release(mark)
    return body, _list(node.other, scope) if node.other else None


def _if(node: nodes.If, scope: Scope) -> Execute:
    mark = scope.mark()
    condition = compile_pipe(node.pipe, scope)
    body, other = _branches(node, scope)
    scope.release(mark)

    def branch(state: State, dot: Any) -> Signal | None:
        if is_true(condition(state, dot)):
            return body(state, dot)
        return other(state, dot) if other is not None else None

    return branch


def _with(node: nodes.With, scope: Scope) -> Execute:
    mark = scope.mark()
    value = compile_pipe(node.pipe, scope)
    body, other = _branches(node, scope)
    scope.release(mark)

    def branch(state: State, dot: Any) -> Signal | None:
        found = value(state, dot)
        if is_true(found):
            return body(state, found)
        return other(state, dot) if other is not None else None

    return branch


def _range(node: nodes.Range, scope: Scope) -> Execute:
    mark = scope.mark()
    value = compile_pipe(node.pipe, scope, declares=False)
    slots = declared_slots(node.pipe, scope)
    if slots is None:
        value, slots = failing(f"undefined variable: {node.pipe.declared[0]}"), []
    store = _store(slots)
    body, other = _branches(node, scope)
    scope.release(mark)

    def loop(state: State, dot: Any) -> Signal | None:
        empty = True
        found = value(state, dot)
        found = MISSING if found is None else found
        store(state, found, found)  # what the variables are when there is nothing to iterate over
        for key, element in _elements(found, len(slots)):
            empty = False
            state.budget.spend(1)
            store(state, key, element)
            if body(state, element) is BREAK:
                break
        return other(state, dot) if empty and other is not None else None

    return loop


def _store(slots: list[int]) -> Callable[[State, Any, Any], None]:
    """Give what sets a range's variables: the element alone, or the key and the element."""
    if not slots:
        return lambda _state, _key, _element: None

    def store(state: State, key: Any, element: Any) -> None:
        state.variables[slots[-1]] = element
        if len(slots) > 1:
            state.variables[slots[0]] = key

    return store


def _elements(value: Any, n_variables: int) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, list):
        return enumerate(value)
    if isinstance(value, dict) and not isinstance(value, Struct):
        return sorted(value.items())
    if value is None or isinstance(value, Missing):
        return ()
    if type(value) is int:
        if n_variables > 1:
            raise TemplateFailed(f"can't use {value} to iterate over more than one variable")
        return _counted(value)
    raise TemplateFailed(f"range can't iterate over {plain(value)} of type {type_name(value)}")


def _counted(end: int) -> Iterator[tuple[Any, Any]]:
    return ((None, number) for number in range(end))


def _call(node: nodes.Call, scope: Scope) -> Execute:
    value: Evaluate = compile_pipe(node.pipe, scope) if node.pipe else lambda _state, _dot: None
    name = node.name

    def call(state: State, dot: Any) -> None:
        routine = state.bodies.get(name)
        if routine is None:
            raise TemplateFailed(f'template "{name}" not defined')
        budget = state.budget
        if not budget.depth:
            raise TemplateFailed("templates call each other too deeply")
        argument = value(state, dot)
        argument = MISSING if argument is None else argument
        budget.depth -= 1
        budget.spend(1)
        variables = [argument] + [None] * (routine.n_variables - 1)
        routine.execute(State(budget, state.output, variables, state.bodies), argument)
        budget.depth += 1

    return call
