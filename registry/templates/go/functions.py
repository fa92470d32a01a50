"""The functions that Go templates may call: Go's own, and those that chat templates are given.

Each takes the render's budget and its arguments. `and` and `or` are the evaluator's, because they stop early.
"""

import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

from actors.errors import TemplateFailed
from registry.templates.go.budget import CHARACTERS_PER_STEP, Budget
from registry.templates.go.comparison import equal, ordered
from registry.templates.go.jsontext import to_json
from registry.templates.go.printf import sprintf
from registry.templates.go.printing import sprint, sprintln
from registry.templates.go.values import Missing, Struct, TypeNames, byte_length, byte_slice, is_true, type_name

Function = Callable[..., Any]
_MOST_INDEXES = 3
_HTML: dict[str, str | int | None] = {
    "\0": "\ufffd",
    '"': "&#34;",
    "'": "&#39;",
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
}
_SCRIPT: dict[str, str | int | None] = {
    **{chr(code): f"\\u{code:04X}" for code in range(0x20)},
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "<": "\\u003C",
    ">": "\\u003E",
    "&": "\\u0026",
    "=": "\\u003D",
}
_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def _print(budget: Budget, *values: Any) -> str:
    return budget.made(sprint(values))


def _println(budget: Budget, *values: Any) -> str:
    return budget.made(sprintln(values))


def _printf(budget: Budget, layout: Any, *values: Any) -> str:
    if not isinstance(layout, str):
        raise TemplateFailed(f"wrong type for value; expected string; got {type_name(layout)}")
    return budget.made(sprintf(layout, values))


def _json(budget: Budget, value: Any) -> str:
    return budget.made(to_json(value))


def _html(budget: Budget, *values: Any) -> str:
    return budget.made(sprint(_shown(values)).translate(str.maketrans(_HTML)))


def _js(budget: Budget, *values: Any) -> str:
    text = sprint(_shown(values)).translate(str.maketrans(_SCRIPT))
    return budget.made("".join(one if one.isprintable() else f"\\u{ord(one):04X}" for one in text))


def _urlquery(budget: Budget, *values: Any) -> str:
    return budget.made(quote_plus(sprint(_shown(values)), errors="surrogateescape"))


def _shown(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple("<no value>" if value is None or isinstance(value, Missing) else value for value in values)


def _not(_: Budget, value: Any) -> bool:
    return not is_true(value)


def _eq(_: Budget, first: Any, *others: Any) -> bool:
    return equal("eq", first, others)


def _ne(_: Budget, first: Any, second: Any) -> bool:
    return not equal("ne", first, (second,))


def _lt(_: Budget, first: Any, second: Any) -> bool:
    return ordered("lt", first, second, operator.lt)


def _le(_: Budget, first: Any, second: Any) -> bool:
    return ordered("le", first, second, operator.le)


def _gt(_: Budget, first: Any, second: Any) -> bool:
    return ordered("gt", first, second, operator.gt)


def _ge(_: Budget, first: Any, second: Any) -> bool:
    return ordered("ge", first, second, operator.ge)


def _len(budget: Budget, value: Any) -> int:
    if isinstance(value, str):
        budget.spend(len(value) // CHARACTERS_PER_STEP)
        return byte_length(value)
    if isinstance(value, list | dict) and not isinstance(value, Struct):
        return len(value)
    if value is None or isinstance(value, Missing):
        raise TemplateFailed("error calling len: len of nil pointer")
    raise TemplateFailed(f"error calling len: len of type {type_name(value)}")


def _index(_: Budget, item: Any, *indexes: Any) -> Any:
    if item is None or isinstance(item, Missing):
        raise TemplateFailed("error calling index: index of untyped nil")
    for index in indexes:
        if isinstance(item, list | str):
            found = item if isinstance(item, list) else item.encode("utf-8", "surrogateescape")
            item = found[_position("index", index, len(found) - 1)]
        elif isinstance(item, dict) and not isinstance(item, Struct):
            if not isinstance(index, str):
                raise TemplateFailed(f"error calling index: value has type {type_name(index)}; should be string")
            item = item.get(index)
        elif item is None:
            raise TemplateFailed("error calling index: index of nil pointer")
        else:
            raise TemplateFailed(f"error calling index: can't index item of type {type_name(item)}")
    return item


def _slice(budget: Budget, item: Any, *indexes: Any) -> Any:
    if item is None or isinstance(item, Missing):
        raise TemplateFailed("error calling slice: slice of untyped nil")
    if len(indexes) > _MOST_INDEXES:
        raise TemplateFailed(f"error calling slice: too many slice indexes: {len(indexes)}")
    if not isinstance(item, list | str):
        raise TemplateFailed(f"error calling slice: can't slice item of type {type_name(item)}")
    if isinstance(item, str) and len(indexes) == _MOST_INDEXES:
        raise TemplateFailed("error calling slice: cannot 3-index slice a string")
    length = byte_length(item) if isinstance(item, str) else len(item)
    bounds = [_position("slice", index, length) for index in indexes]
    start, stop = (*bounds, *(0, length)[len(bounds) :])[:2]
    for low, high in ((start, stop), (stop, bounds[2] if len(bounds) == _MOST_INDEXES else stop)):
        if low > high:
            raise TemplateFailed(f"error calling slice: invalid slice index: {low} > {high}")
    budget.spend((stop - start) // CHARACTERS_PER_STEP)
    return byte_slice(item, start, stop) if isinstance(item, str) else item[start:stop]


def _position(name: str, index: Any, last: int) -> int:
    if isinstance(index, bool) or not isinstance(index, int):
        raise TemplateFailed(f"error calling {name}: cannot index slice/array with type {type_name(index)}")
    if not 0 <= index <= last:
        raise TemplateFailed(f"error calling {name}: index out of range: {index}")
    return index


def _call(_: Budget, function: Any, *_values: Any) -> Any:
    if function is None or isinstance(function, Missing):
        raise TemplateFailed("error calling call: call of nil")
    raise TemplateFailed(f"error calling call: non-function of type {type_name(function)}")


def _current_date(_: Budget, *_values: Any) -> str:
    return datetime.now().astimezone().date().isoformat()


def _yesterday_date(_: Budget, *_values: Any) -> str:
    return (datetime.now().astimezone().date() - timedelta(days=1)).isoformat()


def _typescript(_: Budget, value: Any) -> str:
    """Name the TypeScript type of a tool's property; `any` for what names none."""
    fields = value if isinstance(value, dict) else {}
    unions = fields.get("AnyOf")
    if isinstance(unions, list) and unions:
        return " | ".join(_typescript(_, one) for one in unions)
    names = fields.get("Type")
    names = names if isinstance(names, TypeNames) else TypeNames([names] if isinstance(names, str) else [])
    return " | ".join(_TYPESCRIPT.get(name, "any") for name in names) or "any"


FUNCTIONS: dict[str, tuple[Function, int, int | None]] = {
    "not": (_not, 1, 1),
    "eq": (_eq, 1, None),
    "ne": (_ne, 2, 2),
    "lt": (_lt, 2, 2),
    "le": (_le, 2, 2),
    "gt": (_gt, 2, 2),
    "ge": (_ge, 2, 2),
    "len": (_len, 1, 1),
    "index": (_index, 1, None),
    "slice": (_slice, 1, None),
    "call": (_call, 1, None),
    "print": (_print, 0, None),
    "println": (_println, 0, None),
    "printf": (_printf, 1, None),
    "html": (_html, 0, None),
    "js": (_js, 0, None),
    "urlquery": (_urlquery, 0, None),
    "json": (_json, 1, 1),
    "currentDate": (_current_date, 0, None),
    "yesterdayDate": (_yesterday_date, 0, None),
    "toTypeScriptType": (_typescript, 1, 1),
}
"""Functions with the fewest and the most arguments that they take."""
