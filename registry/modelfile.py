"""Modelfiles: the text from which models are made, parsed and printed.

The grammar is line-oriented. Commands are words at the start of a line, in any case; a value runs to the end of its
line unless it starts with a quote (`"` or three of them), in which case it runs to the first line that ends with the
same quote. There are no escape sequences. Unprintable characters are dropped.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from actors.errors import InvalidModelfile
from registry.parameters import DEPRECATED, parse_parameter

_COMMANDS = (
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
)
_ROLES = ("system", "user", "assistant")
_SEMVER = re.compile(r"v?(0|[1-9]\d*)(\.(0|[1-9]\d*)(\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?)?)?", re.ASCII)
_NEWLINES = "\r\n"
_NEWLINE = re.compile(r"[\r\n]")
_BLANKS = " \t"


@dataclass(frozen=True, slots=True)
class Modelfile:
    """A parsed Modelfile. Later commands replace earlier ones, except where several values are kept."""

    sources: tuple[str, ...]
    """Arguments of FROM, in order: model names or paths, as written."""
    adapters: tuple[str, ...] = ()
    drafts: tuple[str, ...] = ()
    template: str | None = None
    system: str | None = None
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    licenses: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    messages: tuple[tuple[str, str], ...] = ()
    """Pairs of role and text."""
    warnings: tuple[str, ...] = ()
    """About parameters that have no effect any more."""


def decode_modelfile(content: bytes) -> str:
    """Decode a Modelfile: UTF-8, or what its byte-order mark says.

    Raises:
        InvalidModelfile: the bytes do not decode.
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidModelfile(f"the Modelfile is not valid text: {error.reason} at byte {error.start}") from error


def parse_modelfile(text: str) -> Modelfile:
    """Parse a Modelfile.

    Raises:
        InvalidModelfile: the text breaks the grammar, has no FROM, or a parameter is unknown or of the wrong type.
    """
    single: dict[str, str] = {}
    several: dict[str, list[str]] = {"from": [], "license": [], "draft": []}
    parameters: dict[str, Any] = {}
    messages: list[tuple[str, str]] = []
    warnings: list[str] = []
    for command, argument in _commands(text):
        if command == "parameter":
            name, _, value = argument.partition("\0")
            _add_parameter(name, value, parameters, warnings)
        elif command == "message":
            role, _, value = argument.partition("\0")
            messages.append((role, value))
        elif command in several:
            several[command].append(argument)
        else:
            single[command] = argument
    if not any(several["from"]):
        raise InvalidModelfile("no FROM line")
    if "requires" in single and not _SEMVER.fullmatch(single["requires"]):
        raise InvalidModelfile("requires must be a valid semver (e.g. 0.14.0)")
    return Modelfile(
        sources=tuple(several["from"]),
        adapters=(single["adapter"],) if "adapter" in single else (),
        drafts=tuple(several["draft"]),
        template=single.get("template"),
        system=single.get("system"),
        renderer=single.get("renderer"),
        parser=single.get("parser"),
        requires=single["requires"].removeprefix("v") if "requires" in single else None,
        licenses=tuple(several["license"]),
        parameters=parameters,
        messages=tuple(messages),
        warnings=tuple(warnings),
    )


def format_modelfile(modelfile: Modelfile) -> str:
    """Print a Modelfile so that parsing gives it back, as far as the grammar can express its values."""
    lines = [f"FROM {source}" for source in modelfile.sources[:1]]
    lines += [f"ADAPTER {path}" for path in modelfile.adapters]
    lines += [f"DRAFT {path}" for path in modelfile.drafts]
    lines += [f"FROM {source}" for source in modelfile.sources[1:]]
    for command, value in (
        ("TEMPLATE", modelfile.template),
        ("SYSTEM", modelfile.system),
        ("RENDERER", modelfile.renderer),
        ("PARSER", modelfile.parser),
    ):
        lines += [f"{command} {_quoted(value)}"] if value else []
    for name, value in modelfile.parameters.items():
        lines += [f"PARAMETER {name} {_quoted(text)}" for text in _parameter_texts(value)]
    lines += [f"LICENSE {_quoted(text)}" for text in modelfile.licenses]
    lines += [f"MESSAGE {role} {_quoted(text)}" for role, text in modelfile.messages]
    return "\n".join(lines) + "\n"


def _add_parameter(name: str, text: str, parameters: dict[str, Any], warnings: list[str]) -> None:
    if name in DEPRECATED:
        warnings.append(f"parameter {name} is deprecated")
        return
    value = parse_parameter(name, text)
    if isinstance(value, list):
        parameters.setdefault(name, []).extend(value)
    else:
        parameters[name] = value


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Split a text into commands and arguments; a parameter's name or a message's role is followed by a NUL."""
    text = "".join(character for character in text if _kept(character))
    position = 0
    while position < len(text):
        if text[position] in _BLANKS + _NEWLINES:
            position += 1
        elif text[position] == "#":
            position = _line_end(text, position)
        else:
            command, position = _word(text, position)
            prefix = ""
            if command in ("parameter", "message"):
                prefix, position = _prefix(text, position, command)
            value, position = _value(text, position)
            yield command, prefix + value


def _kept(character: str) -> bool:
    return character.isprintable() or character in _BLANKS + _NEWLINES


def _word(text: str, start: int) -> tuple[str, int]:
    end = start
    while end < len(text) and text[end].isascii() and text[end].isalpha():
        end += 1
    command = text[start:end].lower()
    if command not in _COMMANDS or end == len(text) or text[end] not in _BLANKS:
        words = ", ".join(f'"{word}"' for word in _COMMANDS[:-1])
        raise InvalidModelfile(f'(line {_line(text, start)}): command must be one of {words}, or "{_COMMANDS[-1]}"')
    return command, end + 1


def _prefix(text: str, start: int, command: str) -> tuple[str, int]:
    end = start
    while end < len(text) and text[end] not in _BLANKS + _NEWLINES:
        end += 1
    word = text[start:end]
    if command == "message" and word not in _ROLES:
        raise InvalidModelfile(
            f'(line {_line(text, start)}): message role must be one of "system", "user", or "assistant"'
        )
    if end == len(text) or text[end] in _NEWLINES:
        raise InvalidModelfile(f"(line {_line(text, start)}): {command} {word} needs a value")
    return f"{word}\0", end + 1


def _value(text: str, start: int) -> tuple[str, int]:
    """Read a value; follows it over lines while an opened quote is not closed at a line's end. Linear in its length."""
    begin, line_end = start, _line_end(text, start)
    while begin < line_end and text[begin].isspace():
        begin += 1
    quote = next((mark for mark in ('"""', '"') if text.startswith(mark, begin, line_end)), "")
    last = begin
    while True:
        stop = line_end
        while stop > last and text[stop - 1].isspace():
            stop -= 1
        if not quote:
            return text[begin:stop], line_end
        if stop - begin >= 2 * len(quote) and text.endswith(quote, begin, stop):
            return text[begin + len(quote) : stop - len(quote)], line_end
        if line_end == len(text):
            raise InvalidModelfile("unexpected EOF")
        last, line_end = line_end, _line_end(text, line_end + 1)


def _line_end(text: str, start: int) -> int:
    found = _NEWLINE.search(text, start)
    return found.start() if found else len(text)


def _line(text: str, position: int) -> int:
    return 1 + sum(text.count(mark, 0, position) for mark in _NEWLINES)


def _quoted(value: str) -> str:
    if "\n" not in value and value.strip(" ") == value:
        return value
    return f'"""{value}"""' if '"' in value else f'"{value}"'


def _parameter_texts(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [_parameter_text(item) for item in value]
    return [_parameter_text(value)]


def _parameter_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
