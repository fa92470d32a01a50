"""First token of a warm and idle server: single requests to each contender in turn."""

import time

from tests.benchmarks.arena import Arena
from tests.benchmarks.effort import Effort
from tests.benchmarks.numbers import ms, percentile
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_most

NAME = "first-token"
_LATER_MS = 3.0
_N_TOKENS = 2
_PAUSE_S = 0.1
"""Between requests, so that each finds its server idle."""


def run(arena: Arena, effort: Effort) -> Section:
    """Ask every contender for a first token, again and again."""
    times_s: dict[str, list[float]] = {contender.name: [] for contender in arena.contenders}
    for number in range(effort.rounds):
        progress(f"{NAME}: round {number + 1} of {effort.rounds}")
        for _ in range(effort.first_tokens):
            for contender in arena.contenders:
                times_s[contender.name].append(arena.ask(contender, n_tokens=_N_TOKENS).first_token_s)
                time.sleep(_PAUSE_S)
    later_s = percentile(times_s[arena.ours.name], 0.5) - percentile(times_s[arena.default.name], 0.5)
    rows = [
        (name, ms(min(found)), ms(percentile(found, 0.5)), ms(percentile(found, 0.95)), str(len(found)))
        for name, found in times_s.items()
    ]
    return Section(
        name=NAME,
        title="First token, warm and idle",
        tables=(Table(header=("server", "least ms", "p50 ms", "p95 ms", "samples"), rows=tuple(rows)),),
        gates=(at_most("first token p50, later than llama-server's", later_s * 1000, _LATER_MS, "ms"),),
        figures=tuple(
            {"contender": name, "first_token_s": value} for name, found in times_s.items() for value in found
        ),
    )
