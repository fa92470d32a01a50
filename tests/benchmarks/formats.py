"""Structured output against free text: what a JSON schema takes of the speed of decoding.

The schema has no counts, on which llama-server's grammars take many times as long. Ours answers without speculation in
both cases, which would make up for what the schema costs.
"""

import itertools
import statistics
from collections.abc import Mapping
from typing import Any

from tests.benchmarks.answers import read_answer
from tests.benchmarks.arena import Arena, Contender
from tests.benchmarks.effort import Effort
from tests.benchmarks.llamactor import MODEL
from tests.benchmarks.load import LoadOrder, drive
from tests.benchmarks.numbers import percentile
from tests.benchmarks.progress import progress
from tests.benchmarks.requests import chat_request
from tests.benchmarks.results import Section, Table, at_least

NAME = "formats"
_SHARE = 0.97
_TIMEOUT_S = 120.0
_N_TOKENS = 128
_FIRST_NUMBER = 30_000
_KINDS = ("free", "schema")
_SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "pages": {"type": "integer"},
        "is_true": {"type": "boolean"},
        "kind": {"enum": ["novel", "report", "poem"]},
        "chapters": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "text": {"type": "string"}},
                "required": ["name", "text"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["title", "pages", "is_true", "kind", "chapters"],
    "additionalProperties": False,
}


def run(arena: Arena, effort: Effort) -> Section:
    """Ask both servers in turn, for both kinds of answers."""
    contenders = (arena.ours, arena.default)
    rates: dict[tuple[str, str], list[float]] = {(each.name, kind): [] for each in contenders for kind in _KINDS}
    numbers = itertools.count(_FIRST_NUMBER)
    for each, kind in itertools.product(contenders, _KINDS):
        _rate(arena, each, kind, next(numbers))  # compiles, once
    for number in range(effort.rounds):
        progress(f"{NAME}: round {number + 1} of {effort.rounds}")
        for pair, each in itertools.product(range(effort.formats), contenders):
            for kind in _KINDS if pair % 2 == 0 else _KINDS[::-1]:
                rates[each.name, kind].append(_rate(arena, each, kind, next(numbers)))
    shares = {each.name: _share(rates[each.name, "schema"], rates[each.name, "free"]) for each in contenders}
    return Section(
        name=NAME,
        title="JSON schema against free text",
        notes=("tokens/s after the first token, medians; share: the median over pairs of answers side by side",),
        tables=(
            Table(
                header=("server", *[f"{kind} tokens/s" for kind in _KINDS], "share"),
                rows=tuple(
                    (
                        each.name,
                        *[f"{percentile(rates[each.name, kind], 0.5):.1f}" for kind in _KINDS],
                        f"{shares[each.name]:.3f}",
                    )
                    for each in contenders
                ),
            ),
        ),
        gates=(at_least("JSON schema against free text, decode", shares[arena.ours.name], _SHARE, "x"),),
        figures=tuple(
            {"contender": name, "kind": kind, "decode_tokens_per_s": rate}
            for (name, kind), found in rates.items()
            for rate in found
        ),
    )


def _rate(arena: Arena, contender: Contender, kind: str, number: int) -> float:
    port = contender.server.port
    more: dict[str, Any] = {"options": {"draft_num_predict": 0}} if contender is arena.ours else {}
    if kind == "schema":
        more["response_format"] = _format()
    prompt = f"{number}: write a long book about a village and its river, with many chapters."
    request = chat_request(contender.api, port=port, model=MODEL, prompt=prompt, n_tokens=_N_TOKENS, more=more)
    (recording,) = drive(LoadOrder(port, ((request,),), _TIMEOUT_S)).recordings
    return read_answer(recording, contender.api).decode_tokens_per_s


def _format() -> Mapping[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "book", "schema": _SCHEMA}}


def _share(bound: list[float], free: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(bound, free, strict=True))
