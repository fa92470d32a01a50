"""JSON as Go's `encoding/json` writes it: compact, keys of plain maps sorted, `<`, `>` and `&` escaped."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from actors.errors import TemplateFailed
from registry.templates.go.floats import json_float
from registry.templates.go.values import JsonMap, Missing, Struct, TypeNames, plain_text

_DEEPEST = 100
_LONGEST = 16 << 20
_PLAIN = re.compile(r'[^\x00-\x1f"\\<>&\u2028\u2029]*')
_SPECIAL = re.compile(r'[\x00-\x1f"\\<>&\u2028\u2029]')
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", '"': '\\"', "\\": "\\\\"}


def to_json(value: Any) -> str:
    """Encode a value.

    Raises:
        TemplateFailed: it is nested too deeply, too long, or no number of JSON's.
    """
    parts: list[str] = []
    length = 0
    for part in _parts(value, 0):
        parts.append(part)
        length += len(part)
        if length > _LONGEST:
            raise TemplateFailed(f"it makes JSON of more than {_LONGEST} characters")
    return "".join(parts)


def _parts(value: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise TemplateFailed(f"a value is nested deeper than {_DEEPEST}")
    write = _SIMPLE.get(type(value))
    if write is not None:
        yield write(value)
    elif isinstance(value, Struct):
        yield from _object(_fields(value), depth)
    elif isinstance(value, JsonMap):
        yield from _object(iter(value.items()), depth)
    elif isinstance(value, dict):
        yield from _object(((key, value[key]) for key in sorted(value)), depth)
    elif isinstance(value, TypeNames) and len(value) == 1:
        yield json_string(value[0])
    else:
        yield from _array(value, depth)


def _fields(value: Struct) -> Iterator[tuple[str, Any]]:
    for field, key in value.json_names.items():
        item = value[field]
        if not key.endswith("?"):
            yield key, item
        elif isinstance(item, Struct) or (item is not None and item not in ("", [], {})):
            yield key[:-1], item


def _object(items: Iterator[tuple[str, Any]], depth: int) -> Iterator[str]:
    before = "{"
    for key, item in items:
        yield f"{before}{json_string(key)}:"
        yield from _parts(item, depth + 1)
        before = ","
    yield "}" if before == "," else "{}"


def _array(items: list[Any], depth: int) -> Iterator[str]:
    before = "["
    for item in items:
        yield before
        yield from _parts(item, depth + 1)
        before = ","
    yield "]" if before == "," else "[]"


def json_string(text: str) -> str:
    """Encode a string."""
    if _PLAIN.fullmatch(text):
        return f'"{plain_text(text)}"'
    escaped = _SPECIAL.sub(lambda match: _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}", plain_text(text))
    return f'"{escaped}"'


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise TemplateFailed("JSON has no infinite numbers")
    return json_float(value)


_SIMPLE: dict[type, Callable[[Any], str]] = {
    str: json_string,
    bool: lambda value: "true" if value else "false",
    int: str,
    float: _number,
    type(None): lambda _: "null",
    Missing: lambda _: "null",
}
