"""The names that a template mentions, as capabilities are told from them."""

from collections.abc import Iterator

from registry.templates.go import nodes


def identifiers(tree: nodes.Tree) -> frozenset[str]:
    """Collect the fields and variables of a template and of those it defines, in lower case.

    Variables keep their `$`; declaring one is no mention.
    """
    bodies = (tree.body, *tree.definitions.values())
    return frozenset(name.lower() for body in bodies for pipe in pipes_of(body) for name in names_in(pipe))


def pipes_of(body: nodes.Body) -> Iterator[nodes.Pipe]:
    """Give the pipelines of a body in reading order, those of its blocks too."""
    for node in walk(body):
        pipe = pipe_of(node)
        if pipe is not None:
            yield pipe


def walk(body: nodes.Body) -> Iterator[nodes.Node]:
    """Give the nodes of a body in reading order, those of its blocks too."""
    for node in body:
        yield node
        if isinstance(node, nodes.Branch):
            yield from walk(node.body)
            yield from walk(node.other or ())


def pipe_of(node: nodes.Node) -> nodes.Pipe | None:
    """Give a node's own pipeline, if it has one."""
    return None if isinstance(node, nodes.Text | nodes.Break | nodes.Continue) else node.pipe


def names_in(operand: nodes.Operand) -> Iterator[str]:
    """Give the names below an operand or a pipeline, as written."""
    match operand:
        case nodes.Field(names=names):
            yield from names
        case nodes.Variable(name=name, names=names):
            yield from (name, *names)
        case nodes.Chain(node=node, names=names):
            yield from names_in(node)
            yield from names
        case nodes.Pipe(commands=commands):
            for one in (one for command in commands for one in command.operands):
                yield from names_in(one)
