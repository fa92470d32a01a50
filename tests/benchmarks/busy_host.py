"""A busy host: answers beside other programs that take all the processor they get, ours and llama-server's.

llama.cpp's threads wait for the one that has no core. A load lasts for a time, not for a number of tokens, because some
answers nearly stop. It counts from the first request on, so what a server needs to notice the others is in its figures.
"""

import statistics
import time

from actors.launcher.facts import n_usable_cores
from tests.benchmarks.answers import n_texts
from tests.benchmarks.arena import Arena, Contender
from tests.benchmarks.effort import Effort
from tests.benchmarks.load import LoadOrder, drive
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_least
from tests.support.spinners import spinners

NAME = "busy-host"
_SCENES = ((1, 0), (1, 1), (1, 2), (1, 4), (8, 2))
"""How many clients, beside how many programs."""
_QUIET, _GATED = (1, 0), (1, 1)
_LEAST_RATIO = 1.5
_LEAST_LEFT = 0.4
_LOAD_S = 8.0
_SETTLE_S = 1.0
"""After a load, for what was cut short."""
_MOST_ANSWERS = 50


def run(arena: Arena, effort: Effort) -> Section:
    """Ask both servers in turn beside the same programs."""
    contenders = (arena.ours, arena.default)
    rates: dict[tuple[int, int], dict[str, list[float]]] = {
        scene: {each.name: [] for each in contenders} for scene in _SCENES
    }
    for number in range(effort.rounds):
        for n_clients, n_programs in _SCENES:
            progress(f"{NAME}: round {number + 1} of {effort.rounds}, {n_clients} beside {n_programs}")
            with spinners(n_programs):
                for each in contenders:
                    rate = _tokens_per_s(arena, each, n_clients=n_clients, n_tokens=effort.answer_tokens)
                    rates[n_clients, n_programs][each.name].append(rate)
    medians = {
        scene: tuple(statistics.median(found[each.name]) for each in contenders) for scene, found in rates.items()
    }
    ours, theirs = medians[_GATED]
    return Section(
        name=NAME,
        title="Beside other programs",
        notes=(f"{n_usable_cores()} cores; pieces of text a second of all clients together; medians",),
        tables=(
            Table(
                header=("clients", "busy programs", *(each.name for each in contenders), "ratio"),
                rows=tuple(
                    (str(n_clients), str(n_programs), f"{a:.1f}", f"{b:.1f}", f"{a / max(b, 0.1):.2f}")
                    for (n_clients, n_programs), (a, b) in medians.items()
                ),
            ),
        ),
        gates=(
            at_least("one stream beside one busy program", ours / max(theirs, 0.1), _LEAST_RATIO, "times llama-server"),
            at_least("the same", ours / medians[_QUIET][0], _LEAST_LEFT, "times without it"),
        ),
        figures=tuple(
            {"clients": n_clients, "programs": n_programs, "contender": name, "tokens_per_s": rate}
            for (n_clients, n_programs), found in rates.items()
            for name, each in found.items()
            for rate in each
        ),
    )


def _tokens_per_s(arena: Arena, contender: Contender, *, n_clients: int, n_tokens: int) -> float:
    requests = tuple(
        tuple(arena.request(contender, n_tokens=n_tokens) for _ in range(_MOST_ANSWERS)) for _ in range(n_clients)
    )
    record = drive(LoadOrder(contender.server.port, requests, _LOAD_S, is_cut=True))
    time.sleep(_SETTLE_S)
    return sum(n_texts(recording, contender.api) for recording in record.recordings) / _LOAD_S
