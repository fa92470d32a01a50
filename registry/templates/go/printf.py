"""Go's `printf`: verbs, flags, width and precision, with Go's notes on what does not fit.

Left out, as no template needs them: floats in bases two and sixteen, and Go syntax (`%#v`) of anything but strings.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from registry.templates.go.floats import general
from registry.templates.go.jsontext import to_json
from registry.templates.go.printing import plain
from registry.templates.go.values import JsonList, JsonMap, Missing, Struct, TypeNames, type_name

_VERB = re.compile(r"%([+\-# 0]*)(\*|\d+)?(?:(\.)(\*|\d+)?)?(?:\[(\d+)\])?(.|\Z)", re.DOTALL)
_WIDEST = 1_000_000
_DEFAULT_PRECISION = 6
_INTEGER_BASES = {"d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_LAST_CODE_POINT = 0x10FFFF


@dataclass(frozen=True, slots=True)
class _Format:
    """One verb with its flags; a width or precision of None is not given."""

    verb: str
    flags: str
    width: int | None
    precision: int | None

    def padded(self, text: str, *, numeric: bool = False) -> str:
        """Fill up to the width; zeros go behind the sign of a number."""
        missing = (self.width or 0) - len(text)
        if missing <= 0:
            return text
        if "-" in self.flags:
            return text + " " * missing
        if "0" in self.flags:
            n_sign = 1 if numeric and text[:1] in ("+", "-", " ") else 0
            return text[:n_sign] + "0" * missing + text[n_sign:]
        return " " * missing + text


def sprintf(layout: str, values: Sequence[Any]) -> str:
    """Print by a layout."""
    return _Printer(values).run(layout)


class _Printer:
    """One layout with its values, taken in order."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values
        self._next = 0
        self._reordered = False

    def run(self, layout: str) -> str:
        text = _VERB.sub(self._verb, layout)
        if self._reordered or self._next >= len(self._values):
            return text
        extra = (_typed(value) for value in self._values[self._next :])
        return f"{text}%!(EXTRA {', '.join(extra)})"

    def _verb(self, match: re.Match[str]) -> str:
        flags, width_text, point, precision_text, index, verb = match.groups()
        if not verb:
            return "%!(NOVERB)"
        notes = ""
        width, note = self._number(width_text, "WIDTH")
        notes += note
        precision, note = self._number(precision_text, "PREC") if point else (None, "")
        notes += note
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        if index is not None:
            self._reordered = True
            self._next = int(index) - 1
            if not 0 <= self._next < len(self._values):
                return f"{notes}%!{verb}(BADINDEX)"
        if verb == "%":
            return notes + "%"
        if self._next >= len(self._values):
            return f"{notes}%!{verb}(MISSING)"
        value = self._values[self._next]
        self._next += 1
        if point and precision is None:
            precision = 0
        return notes + formatted(value, _Format(verb, flags, width, precision))

    def _number(self, text: str | None, what: str) -> tuple[int | None, str]:
        """Read a width or a precision, which a star takes from the values."""
        if text is None:
            return None, ""
        if text != "*":
            return (int(text), "") if int(text[:8]) <= _WIDEST else (None, f"%!(BAD{what})")
        value = self._values[self._next] if self._next < len(self._values) else None
        self._next += 1
        if type(value) is int and abs(value) <= _WIDEST and (what == "WIDTH" or value >= 0):
            return value, ""
        return None, f"%!(BAD{what})"


def formatted(value: Any, layout: _Format) -> str:
    """Print one value by one verb; a verb that does not fit is told as Go does."""
    verb = layout.verb
    if verb == "T":
        return layout.padded(type_name(value))
    if value is None or isinstance(value, Missing):
        return layout.padded("<nil>") if verb == "v" else f"%!{verb}(<nil>)"
    text = _text_of(value)
    if verb in "vsxXq" and text is not None:
        return _string(text, layout)
    match value:
        case bool():
            done = layout.padded(plain(value)) if verb in "tv" else None
        case int():
            done = _integer(value, layout)
        case float():
            done = _float(value, layout)
        case str():
            done = None
        case _:
            return _compound(value, layout)
    if done is not None:
        return done
    return f"%!{verb}({type_name(value)}={formatted(value, replace(layout, verb='v'))})"


def _typed(value: Any) -> str:
    return "<nil>" if value is None or isinstance(value, Missing) else f"{type_name(value)}={plain(value)}"


def _text_of(value: Any) -> str | None:
    """Give the text of a value that has one: a string, or what has a String method in Go."""
    if isinstance(value, str):
        return value
    if isinstance(value, JsonMap | JsonList):
        return to_json(value)
    if isinstance(value, TypeNames):
        return plain(value)
    return value.text() if isinstance(value, Struct) and value.text else None


def _string(text: str, layout: _Format) -> str:
    if layout.verb in "xX":
        content = text.encode("utf-8", "surrogateescape")[: layout.precision]
        prefix = "0x" if "#" in layout.flags and content else ""
        digits = prefix + (content.hex(" ").replace(" ", " " + prefix) if " " in layout.flags else content.hex())
        return layout.padded(digits.upper() if layout.verb == "X" else digits)
    text = text if layout.precision is None else text[: layout.precision]
    if layout.verb == "q" or (layout.verb == "v" and "#" in layout.flags):
        return layout.padded(quoted(text))
    return layout.padded(text)


def _integer(value: int, layout: _Format) -> str | None:
    verb = "d" if layout.verb == "v" else layout.verb
    if verb in "eEfFgG":
        return None
    if verb == "c":
        return layout.padded(_character(value))
    if verb == "q":
        inside = _character(value)
        return layout.padded(
            "'" + ("\\'" if inside == "'" else inside if inside == '"' else quoted(inside)[1:-1]) + "'"
        )
    if verb == "U":
        return layout.padded(f"U+{value:04X}")
    if verb not in _INTEGER_BASES:
        return None
    digits = format(abs(value), _INTEGER_BASES[verb])
    if layout.precision is not None:
        digits = digits.rjust(layout.precision, "0")
        layout = replace(layout, flags=layout.flags.replace("0", ""))
    prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(verb, "") if "#" in layout.flags else ""
    prefix = "0o" if verb == "O" else prefix
    return layout.padded(_sign(value < 0, layout) + prefix + digits, numeric=True)


def _float(value: float, layout: _Format) -> str | None:
    verb = {"v": "g", "F": "f"}.get(layout.verb, layout.verb)
    if verb not in "eEfgG":
        return None
    if verb in "gG" and layout.precision is None:
        text = general(abs(value)).lstrip("+-")
        text = text.upper() if verb == "G" else text
    else:
        text = format(abs(value), f".{_DEFAULT_PRECISION if layout.precision is None else layout.precision}{verb}")
    return layout.padded(_sign(str(value).startswith("-"), layout) + text, numeric=True)


def _sign(negative: bool, layout: _Format) -> str:  # noqa: FBT001 - a number's sign
    if negative:
        return "-"
    return "+" if "+" in layout.flags and layout.verb != "v" else " " if " " in layout.flags else ""


def _compound(value: Any, layout: _Format) -> str:
    """Print a map, a list or a struct: the verb applies to its elements."""
    if isinstance(value, Struct):
        return "{" + " ".join(_element(item, layout) for item in value.values()) + "}"
    if isinstance(value, dict):
        items = (f"{formatted(key, layout)}:{_element(value[key], layout)}" for key in sorted(value))
        return f"map[{' '.join(items)}]"
    return "[" + " ".join(_element(item, layout) for item in value) + "]"


def _element(value: Any, layout: _Format) -> str:
    return "<nil>" if value is None else formatted(value, layout)


def _character(value: int) -> str:
    return chr(value) if 0 <= value <= _LAST_CODE_POINT and not 0xD800 <= value < 0xE000 else "\ufffd"  # noqa: PLR2004


def quoted(text: str) -> str:
    """Quote as Go's strconv.Quote does."""
    if text.isascii() and text.isprintable():
        return json.dumps(text)
    return '"' + "".join(map(_quoted_character, text)) + '"'


_SHORT = {'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SHORT["\v"] = "\\v"


def _quoted_character(found: str) -> str:
    if found in _SHORT:
        return _SHORT[found]
    if found.isprintable():
        return found
    code = ord(found)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - ASCII, and bytes that are no UTF-8
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - what four digits can say
