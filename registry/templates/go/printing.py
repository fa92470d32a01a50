"""Values as Go's fmt prints them with `%v`, `Sprint` and `Sprintln`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from actors.errors import TemplateFailed
from registry.templates.go.floats import general
from registry.templates.go.jsontext import to_json
from registry.templates.go.values import JsonList, JsonMap, Missing, Struct, TypeNames

_DEEPEST = 100


def printed(value: Any) -> str:
    """Print the value of an action: nothing there prints as `<no value>`."""
    return "<no value>" if value is None or isinstance(value, Missing) else plain(value)


def plain(value: Any, depth: int = 0) -> str:
    """Print with `%v`.

    Raises:
        TemplateFailed: the value is nested too deeply.
    """
    write = _SIMPLE.get(type(value))
    if write is not None:
        return write(value)
    if depth > _DEEPEST:
        raise TemplateFailed(f"a value is nested deeper than {_DEEPEST}")
    if isinstance(value, Struct):
        return value.text() if value.text else _bracketed("{}", (plain(item, depth + 1) for item in value.values()))
    if isinstance(value, dict):
        return "map" + _bracketed("[]", (f"{key}:{plain(value[key], depth + 1)}" for key in sorted(value)))
    return _bracketed("[]", (plain(item, depth + 1) for item in value))


def sprint(values: Sequence[Any]) -> str:
    """Print several: with a blank between two that are both no strings."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(plain(value))
    return "".join(parts)


def sprintln(values: Iterable[Any]) -> str:
    """Print several on a line."""
    return " ".join(map(plain, values)) + "\n"


def _bracketed(brackets: str, items: Iterable[str]) -> str:
    return f"{brackets[0]}{' '.join(items)}{brackets[1]}"


def _type_names(value: TypeNames) -> str:
    return value[0] if len(value) == 1 else _bracketed("[]", value) if value else ""


_SIMPLE: dict[type, Callable[[Any], str]] = {
    str: str,
    bool: lambda value: "true" if value else "false",
    int: str,
    float: general,
    type(None): lambda _: "<nil>",
    Missing: lambda _: "<nil>",
    JsonMap: to_json,
    JsonList: to_json,
    TypeNames: _type_names,
}
