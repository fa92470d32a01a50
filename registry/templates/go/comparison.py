"""Go's comparisons: only values of one kind compare, and nil with what can be nil."""

from collections.abc import Callable
from typing import Any

from actors.errors import TemplateFailed
from registry.templates.go.values import Missing, type_name

_ORDERED = (int, float, str)


def equal(name: str, first: Any, others: tuple[Any, ...]) -> bool:
    """Tell whether the first equals any of the others.

    Raises:
        TemplateFailed: there are no others, or their kinds do not compare.
    """
    if not others:
        raise TemplateFailed(f"error calling {name}: missing argument for comparison")
    kind = type(first)
    if kind is str:
        for other in others:
            if type(other) is str:
                if first == other:
                    return True
            elif not _is_nil(other):
                raise _incompatible(name)
        return False
    return any(_equal(name, first, other) for other in others)


def ordered(name: str, first: Any, second: Any, compare: Callable[[Any, Any], bool]) -> bool:
    """Compare two integers, two floats or two strings.

    Raises:
        TemplateFailed: they are something else, or not of one kind.
    """
    if type(first) not in _ORDERED or type(second) not in _ORDERED:
        raise TemplateFailed(f"error calling {name}: invalid type for comparison")
    if type(first) is not type(second):
        raise _incompatible(name)
    return compare(first, second)


def _equal(name: str, first: Any, other: Any) -> bool:
    if _is_nil(first) or _is_nil(other):
        return _is_nil(first) and _is_nil(other)
    for value in (first, other):
        if isinstance(value, dict | list):
            raise TemplateFailed(f"error calling {name}: non-comparable type {type_name(value)}")
    if type(first) is not type(other):
        raise _incompatible(name)
    return bool(first == other)


def _is_nil(value: Any) -> bool:
    return value is None or isinstance(value, Missing)


def _incompatible(name: str) -> TemplateFailed:
    return TemplateFailed(f"error calling {name}: incompatible types for comparison")
