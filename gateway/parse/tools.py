"""The tools that a request declares, as the parsers need them: names, and the types of their parameters."""

from collections.abc import Mapping, Sequence
from typing import Any


class DeclaredTools:
    """The declared functions by name; false iff there are none."""

    __slots__ = ("_parameters",)

    def __init__(self, tools: Sequence[Mapping[str, Any]] = ()) -> None:
        self._parameters: dict[str, Mapping[str, Any]] = {}
        for tool in tools:
            function = tool.get("function")
            if isinstance(function, Mapping) and isinstance(function.get("name"), str):
                parameters = function.get("parameters")
                self._parameters[function["name"]] = parameters if isinstance(parameters, Mapping) else {}

    def __contains__(self, name: object) -> bool:
        return name in self._parameters

    def __bool__(self) -> bool:
        return bool(self._parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the order of their declaration."""
        return tuple(self._parameters)

    def parameters(self, name: str) -> Mapping[str, Any]:
        """Give the schema of a function's parameters; an empty one when it has none."""
        return self._parameters.get(name, {})

    def schema(self, name: str, parameter: str) -> Mapping[str, Any]:
        """Give the schema of one parameter; an empty one when it has none."""
        properties = self.parameters(name).get("properties")
        found = properties.get(parameter) if isinstance(properties, Mapping) else None
        return found if isinstance(found, Mapping) else {}
