"""The options of the native API: names, types and defaults, and the two ways in which they are written.

A Modelfile writes them as text (`PARAMETER temperature 0.1`), a request as JSON. Both are checked here, with the
texts that clients know. Precedence is default, model, request.
"""

import enum
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.errors import InvalidModelfile, InvalidRequest
from registry.numbers import plain_number, shortest_float32

log = logging.getLogger(__name__)

_INT = re.compile(r"[+-]?[0-9]+")
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
_INT_LIMIT = 1 << 63

OptionValue = int | float | bool | list[str] | None


class OptionType(enum.Enum):
    """The type of an option, under the name that error texts use."""

    INTEGER = "integer"
    FLOAT = "float32"
    BOOLEAN = "boolean"
    STRINGS = "array"


@dataclass(frozen=True, slots=True)
class Option:
    """One option; `at_load` ones belong to a loaded model, the others to a single request."""

    type: OptionType
    default: int | float | bool | tuple[str, ...] | None
    at_load: bool = False


OPTIONS: Mapping[str, Option] = {
    "num_ctx": Option(OptionType.INTEGER, None, at_load=True),
    "num_batch": Option(OptionType.INTEGER, None, at_load=True),
    "num_gpu": Option(OptionType.INTEGER, -1, at_load=True),
    "main_gpu": Option(OptionType.INTEGER, None, at_load=True),
    "use_mmap": Option(OptionType.BOOLEAN, None, at_load=True),
    "num_thread": Option(OptionType.INTEGER, 0, at_load=True),
    "draft_num_predict": Option(OptionType.INTEGER, None, at_load=True),
    "num_keep": Option(OptionType.INTEGER, 4),
    "seed": Option(OptionType.INTEGER, -1),
    "num_predict": Option(OptionType.INTEGER, -1),
    "top_k": Option(OptionType.INTEGER, 40),
    "top_p": Option(OptionType.FLOAT, 0.9),
    "min_p": Option(OptionType.FLOAT, 0.0),
    "typical_p": Option(OptionType.FLOAT, 1.0),
    "repeat_last_n": Option(OptionType.INTEGER, 64),
    "temperature": Option(OptionType.FLOAT, 0.8),
    "repeat_penalty": Option(OptionType.FLOAT, 1.0),
    "presence_penalty": Option(OptionType.FLOAT, 0.0),
    "frequency_penalty": Option(OptionType.FLOAT, 0.0),
    "stop": Option(OptionType.STRINGS, ()),
}

DEPRECATED = frozenset(
    {
        "penalize_newline",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
    }
)


def parse_parameter(name: str, text: str) -> OptionValue:
    """Read a Modelfile's parameter; a stop word gives a list of one.

    Raises:
        InvalidModelfile: no such parameter, or the text does not fit its type.
    """
    option = OPTIONS.get(name)
    if option is None:
        raise InvalidModelfile(f"unknown parameter '{name}'")
    if option.type is OptionType.STRINGS:
        return [text]
    if option.type is OptionType.INTEGER:
        if _INT.fullmatch(text) and abs(int(text)) < _INT_LIMIT:
            return int(text)
        raise InvalidModelfile(f"invalid int value [{text}]")
    if option.type is OptionType.BOOLEAN:
        if text in _TRUE | _FALSE:
            return text in _TRUE
        raise InvalidModelfile(f"invalid bool value [{text}]")
    return _float(text)


def _float(text: str) -> int | float:
    try:
        value = float(text) if "_" not in text and text == text.strip() else math.nan
    except ValueError:
        value = math.nan
    value = shortest_float32(value)
    if not math.isfinite(value):  # JSON cannot carry infinity
        raise InvalidModelfile(f"invalid float value [{text}]")
    number: int | float = plain_number(value)
    return number


def checked_options(options: Mapping[str, Any]) -> dict[str, OptionValue]:
    """Check options given as JSON.

    Null counts as absent, unknown names are logged and left out, and floats may stand for integers.

    Raises:
        InvalidRequest: a value is of the wrong type; names the option and its type.
    """
    checked: dict[str, OptionValue] = {}
    for name, value in options.items():
        option = OPTIONS.get(name)
        if option is None:
            log.warning("ignoring the unknown option %.80r", name)
        elif value is not None:
            checked[name] = _checked(name, option.type, value)
    return checked


def merged_options(stored: Mapping[str, Any], requested: Mapping[str, Any] | None) -> dict[str, OptionValue]:
    """Put a request's options over a model's; names that neither sets are absent.

    Raises:
        InvalidRequest: a value is of the wrong type.
    """
    return checked_options(stored) | checked_options(requested or {})


def _checked(name: str, kind: OptionType, value: Any) -> OptionValue:
    wrong = InvalidRequest(f'option "{name}" must be of type {kind.value}', option=name)
    match kind:
        case OptionType.BOOLEAN:
            if isinstance(value, bool):
                return value
        case OptionType.STRINGS:
            if not isinstance(value, list | tuple):
                raise wrong
            if all(isinstance(item, str) for item in value):
                return list(value)
            raise InvalidRequest(f'option "{name}" must be of an array of strings', option=name)
        case OptionType.INTEGER:
            if _is_number(value) and abs(value) < _INT_LIMIT:
                return int(value)
        case OptionType.FLOAT:
            if _is_number(value):
                return float(value)
    raise wrong


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
