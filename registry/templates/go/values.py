"""The values that Go templates work on, as Python objects.

Strings are `str`, where bytes that are no UTF-8 (from cutting strings at byte positions, as Go does) are lone
surrogates. Integers, floats, booleans and lists are themselves, maps are `dict`s. What Go has beside them is here:
structs, whose unknown fields are errors, and values with a text of their own.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final


class Missing:
    """Go's invalid value, which a missing map key gives: false, and printed as `<no value>`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<no value>"


MISSING: Final = Missing()


class Struct(dict[str, Any]):
    """A Go struct: its fields in Go's order, with how JSON names them.

    `json_names` maps fields to keys; a key that ends with `?` is left out when the value is empty.
    """

    __slots__ = ()
    go_type: ClassVar[str] = "struct"
    json_names: ClassVar[Mapping[str, str]] = {}
    text: ClassVar[Callable[[Any], str] | None] = None


class JsonMap(dict[str, Any]):
    """A map that prints as JSON, in its own order; a range takes it in sorted order, as every map."""

    __slots__ = ()


class JsonList(list[Any]):
    """A list that prints as JSON."""

    __slots__ = ()


class TypeNames(list[str]):
    """The types of a property: one prints as itself, several as a list."""

    __slots__ = ()


def is_true(value: Any) -> bool:
    """Tell whether Go's `if` takes a value for true; a struct always is."""
    return isinstance(value, Struct) or bool(value)


_TYPE_NAMES = {Missing: "<nil>", type(None): "<nil>", bool: "bool", int: "int", float: "float64", str: "string"}


def type_name(value: Any) -> str:
    """Name a value's type as Go does."""
    if isinstance(value, Struct):
        return value.go_type
    others = "[]interface {}" if isinstance(value, list) else "map[string]interface {}"
    return _TYPE_NAMES.get(type(value), others)


def byte_length(text: str) -> int:
    """Give a string's length as Go counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def byte_slice(text: str, start: int, stop: int) -> str:
    """Cut a string at byte positions."""
    if text.isascii():
        return text[start:stop]
    return text.encode("utf-8", "surrogateescape")[start:stop].decode("utf-8", "surrogateescape")


def plain_text(text: str) -> str:
    """Replace what is no UTF-8, as it must be before text leaves the template."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
