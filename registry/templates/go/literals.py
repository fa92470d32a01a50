"""Go's literals: quoted strings, character constants and numbers."""

import math
import re

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)?", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_INTEGER = re.compile(r"[+-]?(0[xX](_?[0-9a-fA-F])+|0[oO]?(_?[0-7])+|0[bB](_?[01])+|0|[1-9](_?[0-9])*)")
_FLOAT = re.compile(r"[+-]?([0-9](_?[0-9])*)?\.?([0-9](_?[0-9])*)?([eE][+-]?[0-9](_?[0-9])*)?")
_LARGEST_INTEGER = (1 << 63) - 1
_LONGEST_NUMBER = 1000
_LARGEST_BYTE = 0xFF
_LARGEST_ASCII = 0x7F


class BadLiteral(ValueError):
    """The text is no such literal; for the parser, which knows the line."""


def unquote(text: str) -> str:
    """Read a string in double quotes or backquotes; bytes that are no UTF-8 become lone surrogates."""
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    return _unescaped(text[1:-1], other_quote="'")


def character(text: str) -> int:
    """Read a character constant as its code point."""
    value = _unescaped(text[1:-1], other_quote='"')
    if len(value) != 1:
        raise BadLiteral(f"malformed character constant: {text}")
    return ord(value)


def number(text: str) -> int | float:
    """Read a number; complex ones are not supported."""
    if text.endswith("i") and not text.lower().startswith(("0x", "+0x", "-0x")):
        raise BadLiteral(f"imaginary numbers are not supported: {text}")
    value: int | float
    if _INTEGER.fullmatch(text):
        # Python reads no decimal of more than some thousand digits, and Go none of more than 19.
        value = _integer(text.replace("_", "")) if len(text) <= _LONGEST_NUMBER else _LARGEST_INTEGER + 1
        if not -_LARGEST_INTEGER - 1 <= value <= _LARGEST_INTEGER:
            raise BadLiteral(f"{text[:_LONGEST_NUMBER]} overflows int")
        return value
    if _FLOAT.fullmatch(text):
        value = float(text.replace("_", ""))
        if math.isinf(value):
            raise BadLiteral(f'bad number syntax: "{text[:_LONGEST_NUMBER]}"')
        return value
    if "0x" in text.lower() and "p" in text.lower():
        try:
            return float.fromhex(text.replace("_", ""))
        except (ValueError, OverflowError) as error:
            raise BadLiteral(f'bad number syntax: "{text}"') from error
    raise BadLiteral(f'bad number syntax: "{text}"')


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    value = int(digits, 8) if octal else int(digits, 0)
    return -value if text.startswith("-") else value


def _unescaped(body: str, *, other_quote: str) -> str:
    if "\\" not in body:
        return body

    def character_of(match: re.Match[str]) -> str:
        found = match[1] or ""
        if found in _SIMPLE and found != other_quote:
            return _SIMPLE[found]
        if found[:1] in ("u", "U") and len(found) > 1:
            return _code_point(int(found[1:], 16))
        if len(found) > 1:
            value = int(found[1:], 16) if found[0] == "x" else int(found, 8)
            if value > _LARGEST_BYTE:
                raise BadLiteral("invalid syntax")
            return chr(value) if value <= _LARGEST_ASCII else chr(0xDC00 + value)
        raise BadLiteral("invalid syntax")

    text = _ESCAPE.sub(character_of, body)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _code_point(value: int) -> str:
    if value > 0x10FFFF or 0xD800 <= value < 0xE000:  # noqa: PLR2004 - Unicode's bounds
        raise BadLiteral("invalid syntax")
    return chr(value)
