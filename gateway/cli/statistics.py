"""The `--verbose` block: what the server measured of an answer."""

from actors.durations import format_duration
from gateway.cli.client import Json

_LABEL_COLUMNS = 22


def statistics(final: Json) -> str:
    """Lay out the counts and durations of a final answer object; what is zero or missing is left out."""
    lines = [_duration("total", final), _duration("load", final)]
    for label, kind in (("prompt eval", "prompt_eval"), ("eval", "eval")):
        n_tokens, duration_ns = final.get(f"{kind}_count", 0), final.get(f"{kind}_duration", 0)
        if n_tokens:
            lines.append(_line(f"{label} count", f"{n_tokens} token(s)"))
        if duration_ns:
            lines.append(_line(f"{label} duration", format_duration(duration_ns / 1e9)))
            lines.append(_line(f"{label} rate", f"{n_tokens / duration_ns * 1e9:.2f} tokens/s"))
    return "".join(lines)


def _duration(label: str, final: Json) -> str:
    duration_ns = final.get(f"{label}_duration", 0)
    return _line(f"{label} duration", format_duration(duration_ns / 1e9)) if duration_ns else ""


def _line(label: str, value: str) -> str:
    return f"{label}:".ljust(_LABEL_COLUMNS) + f"{value}\n"
