"""Values of parameters that a model wrote as plain text, typed by the tool's schema."""

import json
import re
from collections.abc import Mapping
from typing import Any

_INTEGER = re.compile(r"[+-]?\d{1,400}")
_KINDS: dict[str, type | tuple[type, ...]] = {"array": list, "object": dict}


def typed_value(text: str, schema: Mapping[str, Any]) -> Any:
    """Give the value that a parameter's text stands for.

    `null` is null whatever the schema says. Otherwise the declared types are tried, the stricter ones first; text that
    fits none of them stays text, and so does everything without a declared type.
    """
    text = text.removeprefix("\n").removesuffix("\n")
    if text.strip().lower() == "null":
        return None
    types = _types(schema)
    bare = text.strip()
    if "boolean" in types and bare.lower() in {"true", "false"}:
        return bare.lower() == "true"
    if "integer" in types and _INTEGER.fullmatch(bare):
        return int(bare)
    if "number" in types:
        number = _number(bare)
        if number is not None:
            return number
    for name in ("array", "object"):
        if name in types:
            value = _json(bare)
            if isinstance(value, _KINDS[name]):
                return value
    return text


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    declared = schema.get("type")
    names = [declared] if isinstance(declared, str) else declared if isinstance(declared, list) else []
    for union in ("anyOf", "oneOf"):
        for each in schema.get(union) or () if isinstance(schema.get(union), list) else ():
            if isinstance(each, Mapping) and isinstance(each.get("type"), str):
                names = [*names, each["type"]]
    return frozenset(name for name in names if isinstance(name, str))


def _number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    value = _json(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
