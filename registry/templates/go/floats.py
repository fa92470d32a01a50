"""Floating-point numbers as Go writes them: shortest digits, and exponents of at least two digits or JSON's."""

import math
from typing import NamedTuple

_SMALLEST_PLAIN = -4
_LARGEST_PLAIN = 6
_SMALLEST_JSON = 1e-6
_LARGEST_JSON = 1e21


class _Digits(NamedTuple):
    """A finite number: sign, shortest digits, and the decimal exponent of the first one."""

    sign: str
    digits: str
    exponent: int


def general(value: float) -> str:
    """Write as `%v` does: with an exponent below 1e-04 and from 1e+06 on."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = _shortest(value)
    if exponent < _SMALLEST_PLAIN or exponent >= _LARGEST_PLAIN:
        return _scientific(sign, digits, exponent)
    return _plain(sign, digits, exponent)


def json_float(value: float) -> str:
    """Write as `encoding/json` does, which is as JavaScript does."""
    sign, digits, exponent = _shortest(value)
    if value and not _SMALLEST_JSON <= abs(value) < _LARGEST_JSON:
        text = _scientific(sign, digits, exponent)
        return text[:-2] + text[-1] if text[-4:-1] == "e-0" else text
    return _plain(sign, digits, exponent)


def _shortest(value: float) -> _Digits:
    mantissa, _, exponent = f"{value!r}".partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    if not digits:
        return _Digits(sign, "0", 0)
    return _Digits(sign, digits.rstrip("0"), int(exponent or 0) + len(whole) - 1 - leading)


def _scientific(sign: str, digits: str, exponent: int) -> str:
    point = "." if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{point}{digits[1:]}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"


def _plain(sign: str, digits: str, exponent: int) -> str:
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    if len(digits) <= exponent + 1:
        return f"{sign}{digits}{'0' * (exponent + 1 - len(digits))}"
    return f"{sign}{digits[: exponent + 1]}.{digits[exponent + 1 :]}"
