"""The options of the native API: names, types and defaults, and the two ways in which they are written.

A Modelfile writes them as text (`PARAMETER temperature 0.1`), a request as JSON. Both are checked here, with the
texts that clients know, and against the range in which llama.cpp's samplers mean something. Precedence is default,
model, request.
"""

import difflib
import enum
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.errors import InvalidModelfile, InvalidRequest
from registry.numbers import plain_number, shortest_float32

_INT = re.compile(r"[+-]?[0-9]+")
_ID = re.compile(r"[0-9]{1,10}")
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
_INT_LIMIT = 1 << 63
_MOST_WARNINGS = 16
_SHOWN_CHARS = 80
_BANNED = -1e4
"""What a bias of `false` adds to a logit: more than any logit, and JSON can carry it."""

OptionValue = int | float | bool | list[str] | list[list[int | float]] | None


class OptionType(enum.Enum):
    """The type of an option, under the name that error texts use."""

    INTEGER = "integer"
    FLOAT = "float32"
    BOOLEAN = "boolean"
    STRINGS = "array"
    BIASES = "object"


@dataclass(frozen=True, slots=True)
class Option:
    """One option; `at_load` ones belong to a loaded model, the others to a single request."""

    type: OptionType
    default: int | float | bool | tuple[str, ...] | None
    at_load: bool = False
    least: float = -math.inf
    most: float = math.inf

    def range_error(self, value: OptionValue) -> str:
        """Say what is wrong with a number outside the option's range; nothing for one inside."""
        if not isinstance(value, int | float) or self.least <= value <= self.most:
            return ""
        if self.most == math.inf:
            return f"must be at least {self.least:g}"
        return (
            f"must be at most {self.most:g}" if self.least == -math.inf else f"must be {self.least:g} to {self.most:g}"
        )


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
    "temperature": Option(OptionType.FLOAT, 0.8, most=100),
    "dynatemp_range": Option(OptionType.FLOAT, 0.0, least=0, most=100),
    "dynatemp_exponent": Option(OptionType.FLOAT, 1.0, least=0, most=100),
    "top_k": Option(OptionType.INTEGER, 40),
    "top_p": Option(OptionType.FLOAT, 0.9, least=0, most=1),
    "min_p": Option(OptionType.FLOAT, 0.0, least=0, most=1),
    "typical_p": Option(OptionType.FLOAT, 1.0, least=0, most=1),
    "top_n_sigma": Option(OptionType.FLOAT, -1.0, least=-1, most=100),
    "xtc_probability": Option(OptionType.FLOAT, 0.0, least=0, most=1),
    "xtc_threshold": Option(OptionType.FLOAT, 0.1, least=0, most=1),
    "min_keep": Option(OptionType.INTEGER, 0, least=0),
    "repeat_last_n": Option(OptionType.INTEGER, 64, least=-1),
    "repeat_penalty": Option(OptionType.FLOAT, 1.0, least=0.01, most=100),
    "presence_penalty": Option(OptionType.FLOAT, 0.0, least=-100, most=100),
    "frequency_penalty": Option(OptionType.FLOAT, 0.0, least=-100, most=100),
    "dry_multiplier": Option(OptionType.FLOAT, 0.0, least=0, most=100),
    "dry_base": Option(OptionType.FLOAT, 1.75, least=1, most=100),
    "dry_allowed_length": Option(OptionType.INTEGER, 2, least=0),
    "dry_penalty_last_n": Option(OptionType.INTEGER, 64, least=-1),
    "dry_sequence_breakers": Option(OptionType.STRINGS, ("\n", ":", '"', "*")),
    "mirostat": Option(OptionType.INTEGER, 0, least=0, most=2),
    "mirostat_tau": Option(OptionType.FLOAT, 5.0, least=0, most=100),
    "mirostat_eta": Option(OptionType.FLOAT, 0.1, least=0, most=10),
    "logit_bias": Option(OptionType.BIASES, ()),
    "ignore_eos": Option(OptionType.BOOLEAN, default=False),
    "stop": Option(OptionType.STRINGS, ()),
}

DEPRECATED = frozenset({"penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock"})
_GONE = DEPRECATED | {"numa", "tfs_z", "num_gqa", "rope_frequency_base", "rope_frequency_scale"}


def parse_parameter(name: str, text: str) -> OptionValue:
    """Read a Modelfile's parameter; a stop word gives a list of one.

    Raises:
        InvalidModelfile: no such parameter, or the text does not fit its type.
    """
    option = OPTIONS.get(name)
    if option is None:
        raise InvalidModelfile(f"unknown parameter '{name}'")
    if option.type is OptionType.BIASES:
        raise InvalidModelfile(f"parameter '{name}' can be set by a request only")
    if option.type is OptionType.STRINGS:
        return [text]
    value = _from_text(option.type, text)
    if error := option.range_error(value):
        raise InvalidModelfile(f"parameter '{name}' {error}")
    return value


def _from_text(kind: OptionType, text: str) -> int | float | bool:
    if kind is OptionType.INTEGER:
        if _INT.fullmatch(text) and abs(int(text)) < _INT_LIMIT:
            return int(text)
        raise InvalidModelfile(f"invalid int value [{text}]")
    if kind is OptionType.BOOLEAN:
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

    Null counts as absent, unknown names are left out, and floats may stand for integers.

    Raises:
        InvalidRequest: a value is of the wrong type or out of range; names the option.
    """
    checked: dict[str, OptionValue] = {}
    for name, value in options.items():
        option = OPTIONS.get(name)
        if option is None or value is None:
            continue
        checked[name] = _checked(name, option.type, value)
        if error := option.range_error(checked[name]):
            raise InvalidRequest(f'option "{name}" {error}', option=name)
    return checked


def merged_options(stored: Mapping[str, Any], requested: Mapping[str, Any] | None) -> dict[str, OptionValue]:
    """Put a request's options over a model's; names that neither sets are absent.

    Raises:
        InvalidRequest: a value is of the wrong type or out of range.
    """
    given = {name: value for name, value in (requested or {}).items() if value is not None}
    return checked_options({**stored, **given})


def option_warnings(requested: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Say which options of a request have no effect, a sentence each, `_MOST_WARNINGS` at most."""
    unknown = [name for name in requested or {} if name not in OPTIONS][:_MOST_WARNINGS]
    return tuple(_warning(name) for name in unknown)


def _warning(name: str) -> str:
    shown = name[:_SHOWN_CHARS]
    if name in _GONE:
        return f'option "{shown}" no longer has an effect'
    similar = difflib.get_close_matches(shown, OPTIONS, n=1)
    return f'option "{shown}" is unknown and was ignored' + (f', did you mean "{similar[0]}"?' if similar else "")


def _checked(name: str, kind: OptionType, value: Any) -> OptionValue:
    wrong = InvalidRequest(f'option "{name}" must be of type {kind.value}', option=name)
    match kind:
        case OptionType.BOOLEAN:
            if isinstance(value, bool):
                return value
        case OptionType.STRINGS:
            if isinstance(value, list | tuple):
                return _strings(name, value)
        case OptionType.INTEGER:
            if _is_number(value) and abs(value) < _INT_LIMIT:
                return int(value)
        case OptionType.FLOAT:
            if _is_number(value):
                return float(value)
        case OptionType.BIASES:
            return _biases(name, value)
    raise wrong


def _strings(name: str, value: Sequence[Any]) -> list[str]:
    if not all(isinstance(item, str) for item in value):
        raise InvalidRequest(f'option "{name}" must be of an array of strings', option=name)
    return list(value)


def _biases(name: str, value: Any) -> list[list[int | float]]:
    """Read biases: token ids to numbers, as an object or a list of pairs; `false` bans the token."""
    pairs = list(value.items()) if isinstance(value, dict) else value
    biases: list[list[int | float]] = []
    for pair in pairs if isinstance(pairs, list | tuple) else [None]:
        token: Any
        number: Any
        token, number = pair if isinstance(pair, list | tuple) and len(pair) == 2 else (None, None)  # noqa: PLR2004
        number = _BANNED if number is False else number
        is_id = isinstance(token, int) and not isinstance(token, bool)
        if not is_id and not (isinstance(token, str) and _ID.fullmatch(token)):
            raise InvalidRequest(f'option "{name}" must be an object of token ids and numbers', option=name)
        if not _is_number(number) or not abs(number) <= -_BANNED:
            raise InvalidRequest(f'option "{name}" must have biases of -10000 to 10000, or false', option=name)
        biases.append([int(token), float(number)])
    return biases


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
