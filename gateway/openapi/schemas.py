"""JSON schemas of the structs that decode request bodies, read from their types.

msgspec's own generator cannot describe fields that are kept raw, and tells of defaults, which are none for a client.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect

_PLAIN: dict[type[inspect.Type], str] = {
    inspect.BoolType: "boolean",
    inspect.FloatType: "number",
    inspect.StrType: "string",
    inspect.NoneType: "null",
}


class Schemas:
    """Collects the schemas of structs, each once, under names that are unique."""

    def __init__(self, ref_template: str) -> None:
        """`ref_template` has `{name}` where the name of a schema belongs."""
        self._ref_template = ref_template
        self._names: dict[type, str] = {}
        self.found: dict[str, dict[str, Any]] = {}
        """Schemas by name, of all structs that were asked for and those inside them."""

    def reference(self, struct: type[msgspec.Struct]) -> dict[str, Any]:
        """Give the reference to a struct's schema."""
        info = inspect.type_info(struct)
        assert isinstance(info, inspect.StructType)  # noqa: S101  # of a struct
        return self._struct(info)

    def _struct(self, info: inspect.StructType) -> dict[str, Any]:
        name = self._names.get(info.cls)
        if name is None:
            name = self._names[info.cls] = self._unique_name(info.cls)
            self.found[name] = {}  # a struct may hold itself
            properties = {each.encode_name: self._schema(each.type) for each in info.fields}
            self.found[name] = {"type": "object", "properties": properties}
        return {"$ref": self._ref_template.format(name=name)}

    def _unique_name(self, struct: type) -> str:
        name = struct.__name__
        if name in self.found:
            name = f"{struct.__module__.rpartition('.')[2].removesuffix('_requests')}_{name}"
        return name

    def _schema(self, info: inspect.Type) -> dict[str, Any]:
        match info:
            case inspect.StructType():
                return self._struct(info)
            case inspect.UnionType(types=types):
                return _either(self._schema(each) for each in types)
            case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
                return {"type": "array", "items": self._schema(item)}
            case inspect.DictType(value_type=value):
                inner = self._schema(value)
                return {"type": "object", "additionalProperties": inner} if inner else {"type": "object"}
        return _scalar(info)


def _scalar(info: inspect.Type) -> dict[str, Any]:
    match info:
        case inspect.IntType(ge=least, le=most):
            bounds = {"minimum": least, "maximum": most}
            return {"type": "integer"} | {name: bound for name, bound in bounds.items() if bound is not None}
        case inspect.LiteralType(values=values):
            return {"enum": list(values)}
        case inspect.EnumType(cls=choices):
            return {"enum": [choice.value for choice in choices]}
    plain = _PLAIN.get(type(info))
    return {"type": plain} if plain else {}  # anything: its check is the route's


def _either(schemas: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Join alternatives; plain types become one list of types."""
    kinds: list[str] = []
    others: list[dict[str, Any]] = []
    for schema in schemas:
        if not schema:
            return {}
        if set(schema) == {"type"}:
            kinds.append(schema["type"])
        else:
            others.append(schema)
    plain: list[dict[str, Any]] = [{"type": kinds if len(kinds) > 1 else kinds[0]}] if kinds else []
    joined = [*others, *plain]
    return joined[0] if len(joined) == 1 else {"anyOf": joined}
