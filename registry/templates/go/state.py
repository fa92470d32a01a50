"""What one run of a template body works with."""

from collections.abc import Callable
from typing import Any, Final

from actors.errors import TemplateFailed
from registry.templates.go.budget import Budget


class Signal:
    """Why a list of nodes ended early."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


BREAK: Final = Signal("break")
CONTINUE: Final = Signal("continue")


class State:
    """Variables by slot, the output, and what is left to spend; owned by one render."""

    __slots__ = ("append", "bodies", "budget", "output", "variables")

    def __init__(self, budget: Budget, output: list[str], variables: list[Any], bodies: "dict[str, Routine]") -> None:
        self.budget = budget
        self.output = output
        self.append = output.append
        self.variables = variables
        self.bodies = bodies

    def write(self, text: str) -> None:
        """Print a text.

        Raises:
            TemplateFailed: the output is too long.
        """
        self.budget.output -= len(text)
        if self.budget.output < 0:
            raise TemplateFailed("it writes too much")
        self.append(text)


Evaluate = Callable[[State, Any], Any]
"""An expression: state and dot to a value."""
Execute = Callable[[State, Any], Signal | None]
"""A statement: state and dot; gives a signal when the list around it must end."""


class Routine:
    """A compiled body, and how many variables it has; the first is `$`."""

    __slots__ = ("execute", "n_variables")

    def __init__(self, execute: Execute, n_variables: int) -> None:
        self.execute = execute
        self.n_variables = n_variables
