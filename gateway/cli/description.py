"""A model's description as `show` lays it out: titled blocks of aligned rows."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.cli.client import Json
from gateway.cli.columns import text_columns
from gateway.cli.text import section

_TEXT_LINES = 2
"""So many lines of a system message or license are shown; the flags show them whole."""
_ARRAY_COLUMNS = 10
"""An array is cut where its elements have filled so many columns: metadata arrays can hold a whole vocabulary."""
_PLAIN_EXPONENTS = range(-4, 6)


def description(reply: Json, *, verbose: bool) -> str:
    """Lay out an answer of `/api/show`."""
    blocks: list[tuple[str, Sequence[Sequence[str]]]] = [
        ("Model", _model_rows(reply)),
        ("Capabilities", [(name,) for name in reply.get("capabilities") or []]),
        ("Projector", _projector_rows(reply.get("projector_info") or {})),
        ("Parameters", [_parameter_row(line) for line in (reply.get("parameters") or "").splitlines()]),
    ]
    if verbose:
        metadata = reply.get("model_info") or {}
        blocks.append(("Metadata", [(key, format_value(metadata[key])) for key in sorted(metadata)]))
        blocks.append(("Tensors", [_tensor_row(tensor) for tensor in reply.get("tensors") or []]))
    blocks.append(("System", _first_lines(reply.get("system") or "")))
    blocks.append(("License", _first_lines(reply.get("license") or "")))
    return "".join(section(title, rows) for title, rows in blocks if rows)


def format_value(value: Any) -> str:
    """Print a metadata value; numbers as a JSON number reads in Go, which is what users know."""
    match value:
        case bool() | None:
            return {True: "true", False: "false", None: "<nil>"}[value]
        case int() | float():
            return _format_number(value)
        case list():
            return _format_array(value)
    return str(value)


def _model_rows(reply: Json) -> list[Sequence[str]]:
    info, details = reply.get("model_info") or {}, reply.get("details") or {}
    architecture = info.get("general.architecture") or details.get("family") or ""
    rows = [
        ("Remote model", reply.get("remote_model")),
        ("Remote URL", reply.get("remote_host")),
        ("architecture", architecture),
        ("parameters", details.get("parameter_size")),
        ("context length", info.get(f"{architecture}.context_length")),
        ("embedding length", info.get(f"{architecture}.embedding_length")),
        ("quantization", details.get("quantization_level")),
        ("requires", reply.get("requires")),
    ]
    return [(label, str(value)) for label, value in rows if value]


def _projector_rows(info: Json) -> list[Sequence[str]]:
    architecture = info.get("general.architecture", "")
    rows = [
        ("architecture", architecture),
        ("parameters", human_count(info["general.parameter_count"]) if "general.parameter_count" in info else None),
        ("embedding length", info.get(f"{architecture}.vision.embedding_length")),
        ("dimensions", info.get(f"{architecture}.vision.projection_dim")),
    ]
    return [(label, str(value)) for label, value in rows if value]


def human_count(count: float) -> str:
    """Print a parameter count as in `134.52M`."""
    for scale, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= scale:
            return f"{count / scale:.2f}{unit}"
    return f"{count:.0f}"


def _parameter_row(line: str) -> Sequence[str]:
    name, _, value = line.partition(" ")
    return name, value.strip()


def _tensor_row(tensor: Json) -> Sequence[str]:
    return tensor["name"], tensor["type"], f"[{' '.join(str(size) for size in tensor['shape'])}]"


def _first_lines(text: str) -> list[Sequence[str]]:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return [(line,) for line in [*lines[:_TEXT_LINES], *(["..."] if len(lines) > _TEXT_LINES else [])]]


def _format_number(value: float) -> str:
    # Go prints every JSON number as a float, and a float from a million on, or below 0.0001, with an exponent.
    digits = repr(float(value)) if isinstance(value, float) else str(value)
    exponent = int(f"{abs(value):e}".partition("e")[2]) if value else 0
    if exponent in _PLAIN_EXPONENTS:
        return digits.removesuffix(".0")
    return next(text for n in range(18) if float(text := f"{value:.{n}e}") == float(value))


def _format_array(values: Sequence[Any]) -> str:
    shown = list(_fitting([format_value(value) for value in values]))
    hidden = len(values) - len(shown)
    return f"[{', '.join(shown)}{f', ...+{hidden} more' if hidden else ''}]"


def _fitting(items: Sequence[str]) -> Iterator[str]:
    used = 0
    for position, item in enumerate(items):
        used += text_columns(item) + (2 if position else 0)
        if position and used > _ARRAY_COLUMNS:
            return
        yield item
