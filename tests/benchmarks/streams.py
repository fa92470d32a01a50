"""Streams: one client and several, each asking again and again; speed, delays and processor time."""

import itertools
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from tests.benchmarks.answers import read_answer
from tests.benchmarks.arena import Arena, Contender
from tests.benchmarks.child import output_of
from tests.benchmarks.effort import Effort
from tests.benchmarks.load import LoadOrder, LoadRecord
from tests.benchmarks.numbers import ms, percentile
from tests.benchmarks.processes import cpu_spent_s, cpu_times_s, machine_busy_s
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_least

NAME = "streams"
_ONE_STREAM_RATIO = 1.05
_EIGHT_CLIENTS_RATIO = 1.15
_TIMEOUT_S = 300.0
_N_CPUS = os.cpu_count() or 1


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one contender."""

    contender: str
    clients: int
    round: int
    tokens: int
    wall_s: float
    tokens_per_s: float
    """All answers together, from the first request to the last token: waiting and prefill included."""
    decode_tokens_per_s: float
    """Median of the answers' own rates after their first tokens."""
    first_token_p50_s: float
    first_token_p95_s: float
    gap_p50_s: float
    gap_p99_s: float
    cpu_s_per_1000_tokens: float
    others_share: float
    """Share of the machine that neither the server nor the clients took."""


Rounds = dict[tuple[int, str], list[Streams]]


def run(arena: Arena, effort: Effort) -> Section:
    """Measure every contender with every number of clients, in turn; every second round in reverse."""
    rounds: Rounds = defaultdict(list)
    for number, (clients, n_answers) in itertools.product(range(effort.rounds), effort.answers_per_client.items()):
        progress(f"{NAME}: round {number + 1} of {effort.rounds}, {clients} clients")
        order = arena.contenders if number % 2 == 0 else arena.contenders[::-1]
        for contender in order:
            found = _measure(arena, contender, clients=clients, n_answers=n_answers, effort=effort, number=number)
            rounds[clients, contender.name].append(found)
    one, eight = min(effort.answers_per_client), 8
    return Section(
        name=NAME,
        title="Streams",
        notes=(
            "total: tokens of all answers by the time from first request to last token",
            "each: an answer's own rate after its first token, the median answer",
            "ratio: total, against llama-server's default in the same round",
            "others: share of the machine that other processes took meanwhile; the less, the better the figures",
        ),
        tables=(_table(arena, rounds),),
        gates=(
            at_least(
                "one stream, decode tokens/s",
                _ratio(rounds, one, arena, "decode_tokens_per_s"),
                _ONE_STREAM_RATIO,
                "times llama-server",
            ),
            at_least(
                "eight clients, total tokens/s",
                _ratio(rounds, eight, arena, "tokens_per_s"),
                _EIGHT_CLIENTS_RATIO,
                "times llama-server",
            ),
        ),
        figures=tuple(msgspec.to_builtins(each) for found in rounds.values() for each in found),
    )


def _measure(
    arena: Arena, contender: Contender, *, clients: int, n_answers: int, effort: Effort, number: int
) -> Streams:
    requests = tuple(
        tuple(arena.request(contender, n_tokens=effort.answer_tokens) for _ in range(n_answers)) for _ in range(clients)
    )
    order = LoadOrder(contender.server.port, requests, _TIMEOUT_S)
    cpu_before, busy_before = cpu_times_s(contender.server.pids), machine_busy_s()
    record = _driven(order)
    busy_s = machine_busy_s() - busy_before
    cpu_s = cpu_spent_s(cpu_before, cpu_times_s(contender.server.pids))
    answers = [read_answer(recording, contender.api) for recording in record.recordings]
    first_tokens = [answer.first_token_s for answer in answers]
    gaps = [gap for answer in answers for gap in answer.gaps_s]
    tokens = sum(answer.n_tokens for answer in answers)
    wall_s = max(answer.token_times[-1] for answer in answers) - min(answer.started_at for answer in answers)
    return Streams(
        contender=contender.name,
        clients=clients,
        round=number,
        tokens=tokens,
        wall_s=wall_s,
        tokens_per_s=tokens / wall_s,
        decode_tokens_per_s=percentile([answer.decode_tokens_per_s for answer in answers], 0.5),
        first_token_p50_s=percentile(first_tokens, 0.5),
        first_token_p95_s=percentile(first_tokens, 0.95),
        gap_p50_s=percentile(gaps, 0.5),
        gap_p99_s=percentile(gaps, 0.99),
        cpu_s_per_1000_tokens=1000 * cpu_s / tokens,
        others_share=max(0.0, busy_s - cpu_s - record.cpu_s) / (wall_s * _N_CPUS),
    )


def _driven(order: LoadOrder) -> LoadRecord:
    """Run the load in a process of its own."""
    output = output_of([sys.executable, "-m", "tests.benchmarks.load"], given=msgspec.msgpack.encode(order))
    return msgspec.msgpack.decode(output, type=LoadRecord)


def _median(found: Sequence[Streams], figure: str) -> float:
    return statistics.median(float(getattr(each, figure)) for each in found)


def _ratio(rounds: Rounds, clients: int, arena: Arena, figure: str, contender: str | None = None) -> float:
    """Give the median over rounds of a contender's figure by that of llama-server's default; ours if none is named."""
    found = rounds[clients, contender or arena.ours.name]
    theirs = rounds[clients, arena.default.name]
    ratios = [float(getattr(a, figure)) / float(getattr(b, figure)) for a, b in zip(found, theirs, strict=True)]
    return statistics.median(ratios)


def _table(arena: Arena, rounds: Rounds) -> Table:
    rows = []
    for (clients, name), found in rounds.items():
        rows.append(
            (
                str(clients),
                name,
                f"{_median(found, 'tokens_per_s'):.1f}",
                f"{_ratio(rounds, clients, arena, 'tokens_per_s', name):.2f}",
                f"{_median(found, 'decode_tokens_per_s'):.1f}",
                ms(_median(found, "first_token_p50_s")),
                ms(_median(found, "first_token_p95_s")),
                ms(_median(found, "gap_p50_s")),
                ms(_median(found, "gap_p99_s")),
                f"{_median(found, 'cpu_s_per_1000_tokens'):.2f}",
                f"{sum(each.tokens for each in found)}",
                f"{_median(found, 'others_share'):.0%}",
            )
        )
    return Table(
        header=(
            "clients",
            "server",
            "total tokens/s",
            "ratio",
            "each tokens/s",
            "first token p50 ms",
            "p95 ms",
            "between tokens p50 ms",
            "p99 ms",
            "CPU s per 1,000 tokens",
            "tokens",
            "others",
        ),
        rows=tuple(rows),
    )
