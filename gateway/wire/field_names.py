"""Names of fields in any case, as Go's decoder takes them: `Model`, `MESSAGES` and `keep_Alive` are what they seem.

Hardly any request needs it. So the raw text is searched for something that looks like such a name; only where it is
found is the body decoded, its names changed where structs stand, and encoded again. Of several spellings in one object
the last counts, as in Go.
"""

import functools
import re
import typing
from typing import Any

import msgspec

_MAYBE_NAME = re.compile(rb'"([A-Za-z_]*[A-Z][A-Za-z_]*)"\s*:')
_first_value = re.compile(r"trailing characters \(byte (\d+)\)")


def with_known_names(cls: type[msgspec.Struct], raw: bytes) -> bytes:
    """Give a body whose fields are spelled as `cls` has them; one that is no JSON comes back as it is."""
    known = _names_below(cls)
    if not any(match[1].lower().decode() in known for match in _MAYBE_NAME.finditer(raw)):
        return raw
    try:
        return msgspec.json.encode(_renamed(_decoded(raw), cls))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError):
        return raw  # the real decoder tells what is wrong


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        trailing = _first_value.search(str(error))
        if trailing is None:
            raise
        return msgspec.json.decode(raw[: int(trailing[1]) - 1])


def _renamed(value: Any, kind: Any) -> Any:
    struct, is_list = _struct_of(kind)
    if struct is None:
        return value
    if is_list:
        return [_renamed(each, struct) for each in value] if isinstance(value, list) else value
    if not isinstance(value, dict):
        return value
    fields = _fields(struct)
    renamed: dict[str, Any] = {}
    for key, member in value.items():
        name, kind_of_member = fields.get(key.lower(), (key, Any))
        renamed[name] = _renamed(member, kind_of_member)
    return renamed


@functools.cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, tuple[str, Any]]:
    """Give the fields of a struct by their names in lower case: the right spelling, and the type."""
    return {each.encode_name.lower(): (each.encode_name, each.type) for each in msgspec.structs.fields(struct)}


@functools.cache
def _names_below(struct: type[msgspec.Struct]) -> frozenset[str]:
    """Give the names, in lower case, of a struct's fields and of those of the structs in it."""
    structs, waiting = {struct}, [struct]
    while waiting:
        for _, kind in _fields(waiting.pop()).values():
            inner, _ = _struct_of(kind)
            if inner is not None and inner not in structs:  # blocks of content hold blocks
                structs.add(inner)
                waiting.append(inner)
    return frozenset(name for each in structs for name in _fields(each))


def _struct_of(kind: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    """Give the struct that a type is, or is a list of, and whether it is a list; None for other types."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind, False
    for each in typing.get_args(kind):
        inner, is_list = _struct_of(each)
        if inner is not None:
            return inner, is_list or typing.get_origin(kind) in {list, tuple}
    return None, False
