"""A template without what follows its response: the last turn, which the model goes on with.

Everything behind the first mention of Response in reading order goes: nodes, and operands of the same pipeline.
Conditions do not count as mentions. A template whose `if` mentions it and whose `else` would have to go has no such
form, and is refused.
"""

from dataclasses import replace

from actors.errors import TemplateFailed
from registry.templates.go import nodes

_NAME = "Response"


def without_rest(body: nodes.Body) -> nodes.Body:
    """Cut a template's body.

    Raises:
        TemplateFailed: the response is in one branch of a block that has another behind it.
    """
    return _Cut().body(body)


class _Cut:
    """One pass; `_done` once the response was met."""

    def __init__(self) -> None:
        self._done = False

    def body(self, body: nodes.Body) -> nodes.Body:
        kept: list[nodes.Node] = []
        for node in body:
            if self._done:
                break
            left = self._node(node)
            if left is not None:
                kept.append(left)
        return tuple(kept)

    def _node(self, node: nodes.Node) -> nodes.Node | None:
        if isinstance(node, nodes.Branch):
            body = self.body(node.body)
            if node.other is None:
                return replace(node, body=body)
            if self._done:
                raise TemplateFailed(
                    f"template: :{node.pipe.line}: its else follows the response, so that no answer can go on there: "
                    "mention .Response once, at the end"
                )
            return replace(node, body=body, other=self.body(node.other))
        if isinstance(node, nodes.Action):
            pipe = self._pipe(node.pipe)
            return None if pipe is None else nodes.Action(pipe)
        return node

    def _pipe(self, pipe: nodes.Pipe) -> nodes.Pipe | None:
        commands = []
        for command in pipe.commands:
            operands = []
            for operand in command.operands:
                if self._done:
                    break
                left = self._operand(operand)
                if left is not None:
                    operands.append(left)
            if not operands:
                return None
            commands.append(nodes.Command(tuple(operands)))
        return replace(pipe, commands=tuple(commands))

    def _operand(self, operand: nodes.Operand) -> nodes.Operand | None:
        if isinstance(operand, nodes.Pipe):
            return self._pipe(operand)
        if isinstance(operand, nodes.Field) and _NAME in operand.names:
            self._done = True
        return operand
