"""Two busy runners on one host, of one server, which divides the cores between them, and of two.

Each of two models answers one request at the same time. Two servers know nothing of each other: only what their runners
see of the host tells them to use fewer threads.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from actors.launcher.facts import n_usable_cores
from tests.benchmarks.effort import Effort
from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.llamactor import MODEL, Llamactor
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_least
from tests.benchmarks.second_model import renamed

NAME = "two-runners"
_SECOND = "bench-second"
_LEAST_GAIN = 1.1
_LEAST_APART = 0.8
_N_TOKENS = 256
"""Of each answer."""
_OK = 200
_ALONE, _BUDGETS, _APART = _WAYS = ("one alone", "two of one server", "two of two servers")


def run(model: Path, effort: Effort) -> Section:
    """Let one answer, then both of one server, then one of each server."""
    found: dict[str, list[float]] = {way: [] for way in _WAYS}
    with tempfile.TemporaryDirectory(prefix="llb-") as folder:
        one, other = Path(folder) / "a", Path(folder) / "b"
        one.mkdir()
        other.mkdir()
        with Llamactor(one) as server, Llamactor(other) as second:
            for each in (server, second):
                each.wait_until_ready("/api/version")
                each.create(MODEL, model)
                each.load(MODEL)
            server.create(_SECOND, renamed(model, one / "second.gguf"))
            server.load(_SECOND)
            parties = {
                _ALONE: ((server, MODEL),),
                _BUDGETS: ((server, MODEL), (server, _SECOND)),
                _APART: ((server, MODEL), (second, MODEL)),
            }
            for number in range(effort.rounds):
                progress(f"{NAME}: {number + 1} of {effort.rounds}")
                for way, asked in parties.items():
                    found[way].append(_tokens_per_s(asked))
    medians = {way: statistics.median(each) for way, each in found.items()}
    rows = tuple(
        (
            way,
            f"{medians[way]:.1f}",
            ", ".join(f"{each:.1f}" for each in found[way]),
            f"{medians[way] / medians[_ALONE]:.2f}",
        )
        for way in _WAYS
    )
    return Section(
        name=NAME,
        title="Two busy runners on one host",
        notes=(f"{n_usable_cores()} cores; {_N_TOKENS} tokens each, all rounds in the third column",),
        tables=(Table(header=("who answers", "tokens/s together", "rounds", "times one alone"), rows=rows),),
        gates=tuple(
            at_least(f"busy runners, {way}", medians[way] / medians[_ALONE], limit, "times one alone")
            for way, limit in ((_BUDGETS, _LEAST_GAIN), (_APART, _LEAST_APART))
        ),
    )


def _tokens_per_s(asked: Sequence[tuple[Llamactor, str]]) -> float:
    options: dict[str, float | bool] = {"num_predict": _N_TOKENS, "temperature": 0, "ignore_eos": True}
    began_s = time.monotonic()
    with ThreadPoolExecutor(len(asked)) as pool:
        counts = list(pool.map(lambda each: _answer(each[0], each[1], options), asked))
    return sum(counts) / (time.monotonic() - began_s)


def _answer(server: Llamactor, name: str, options: dict[str, float | bool]) -> int:
    body = {"model": name, "prompt": "Tell me a long story.", "stream": False, "options": options}
    status, answer = server.call("POST", "/api/generate", body)
    if status != _OK:
        raise NotMeasured(f"{name} answered {status}: {answer.decode(errors='replace')}")
    n_tokens: int = json.loads(answer)["eval_count"]
    return n_tokens
