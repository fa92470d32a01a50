"""Go templates, parsed once and rendered any number of times."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from actors.errors import TemplateFailed
from registry.templates.go import nodes
from registry.templates.go.budget import Budget
from registry.templates.go.cut import without_rest
from registry.templates.go.identifiers import identifiers
from registry.templates.go.parser import parse
from registry.templates.go.state import State
from registry.templates.go.statements import compile_tree
from registry.templates.go.values import plain_text

_N_KEPT = 64
_RESPONSE = nodes.Action(nodes.Pipe(1, (nodes.Command((nodes.Field(("Response",)),)),)))


class Template:
    """One compiled template."""

    __slots__ = ("_bodies", "_routine", "names", "tree")

    def __init__(self, tree: nodes.Tree) -> None:
        self.tree = tree
        self.names = identifiers(tree)
        self._routine, self._bodies = compile_tree(tree)

    def render(self, values: Mapping[str, Any], budget: Budget | None = None) -> str:
        """Render with these values, within a budget that several renders may share.

        Raises:
            TemplateFailed: the template refused the values, or used up its budget.
        """
        output: list[str] = []
        dot = dict(values)
        state = State(budget or Budget(), output, [dot] + [None] * (self._routine.n_variables - 1), self._bodies)
        try:
            self._routine.execute(state, dot)
        except TemplateFailed:
            raise
        except (RecursionError, MemoryError) as error:
            raise TemplateFailed("it nests too deeply or needs too much memory") from error
        except Exception as error:  # whatever hostile input finds must not end the process
            raise TemplateFailed(f"{type(error).__name__}: {error}") from error
        return plain_text("".join(output))


@lru_cache(maxsize=_N_KEPT)
def compiled(text: str) -> Template:
    """Parse and compile a template; one that shows neither messages nor a response gets the response at its end.

    Raises:
        TemplateFailed: it has a syntax error.
    """
    return Template(completed(parse(text)))


@lru_cache(maxsize=_N_KEPT)
def compiled_up_to_response(text: str) -> Template:
    """Compile a template without what follows its first response, as the last turn of a conversation needs it.

    Raises:
        TemplateFailed: it has a syntax error, or cannot be cut there.
    """
    tree = completed(parse(text))
    return Template(nodes.Tree(without_rest(tree.body), tree.definitions))


def completed(tree: nodes.Tree) -> nodes.Tree:
    """Put the response behind a template that shows neither messages nor a response."""
    if identifiers(tree) & {"messages", "response"}:
        return tree
    return nodes.Tree((*tree.body, _RESPONSE), tree.definitions)
