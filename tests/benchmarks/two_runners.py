"""Two busy runners on one host, with thread budgets and without: cores are placed like memory.

Each of two models answers one request at the same time. Without budgets means that both requests name all cores
(`num_thread`), which the scheduler then leaves alone.
"""

import json
import statistics
import tempfile
import time
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
_OK = 200
_WAYS = ("one alone", "two, budgets", "two, all cores each")


def run(model: Path, effort: Effort) -> Section:
    """Let one answer, then both with budgets, then both without."""
    found: dict[str, list[float]] = {way: [] for way in _WAYS}
    with tempfile.TemporaryDirectory(prefix="llb-") as folder:
        workspace = Path(folder)
        with Llamactor(workspace) as server:
            server.wait_until_ready("/api/version")
            server.create(MODEL, model)
            server.create(_SECOND, renamed(model, workspace / "second.gguf"))
            for number in range(effort.rounds):
                progress(f"{NAME}: {number + 1} of {effort.rounds}")
                for name in (MODEL, _SECOND):
                    server.load(name)
                for way in _WAYS:
                    found[way].append(_tokens_per_s(server, way, effort.answer_tokens))
                for name in (_SECOND, MODEL):
                    server.unload(name)  # a named number of threads stays with its runner
    medians = {way: statistics.median(each) for way, each in found.items()}
    rows = tuple(
        (
            way,
            f"{medians[way]:.1f}",
            ", ".join(f"{each:.1f}" for each in found[way]),
            f"{medians[way] / medians[_WAYS[0]]:.2f}",
        )
        for way in _WAYS
    )
    gain = medians["two, budgets"] / medians["two, all cores each"]
    return Section(
        name=NAME,
        title="Two busy runners on one host",
        notes=(f"{n_usable_cores()} cores; {effort.answer_tokens} tokens each, all rounds in the third column",),
        tables=(Table(header=("who answers", "tokens/s together", "rounds", "times one alone"), rows=rows),),
        gates=(at_least("two busy runners with thread budgets", gain, _LEAST_GAIN, "times those without"),),
    )


def _tokens_per_s(server: Llamactor, way: str, n_tokens: int) -> float:
    options: dict[str, float | bool] = {"num_predict": n_tokens, "temperature": 0, "ignore_eos": True}
    if way == "two, all cores each":
        options["num_thread"] = n_usable_cores()
    names = (MODEL,) if way == "one alone" else (MODEL, _SECOND)
    began_s = time.monotonic()
    with ThreadPoolExecutor(len(names)) as pool:
        counts = list(pool.map(lambda name: _answer(server, name, options), names))
    return sum(counts) / (time.monotonic() - began_s)


def _answer(server: Llamactor, name: str, options: dict[str, float | bool]) -> int:
    body = {"model": name, "prompt": "Tell me a long story.", "stream": False, "options": options}
    status, answer = server.call("POST", "/api/generate", body)
    if status != _OK:
        raise NotMeasured(f"{name} answered {status}: {answer.decode(errors='replace')}")
    n_tokens: int = json.loads(answer)["eval_count"]
    return n_tokens
