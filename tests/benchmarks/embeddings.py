"""64 short texts to be embedded: in one call, and in 64 calls at once.

The model is an encoder of MiniLM's size with random weights, since speed does not depend on what they say. Both ways
are held against one call of llama-server's, and calls at once against its calls at once as well. How much longer they
take than one call of the same server stands in the table alone: quicker evaluation makes it worse.
"""

import concurrent.futures
import time
from collections.abc import Callable

from tests.benchmarks.arena import Arena, llama_server
from tests.benchmarks.effort import Effort
from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.numbers import ms, percentile
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_least
from tests.benchmarks.server import Server
from tests.support.tiny_bert import MINILM, write_tiny_bert

NAME = "embeddings"
_SPEED = 0.95
"""Of llama-server's."""
_N_TEXTS = 64
_MODEL = "bench-encoder"
_PATH = "/v1/embeddings"
_OK = 200
_WAYS = ("one call", "64 calls")


def run(arena: Arena, effort: Effort) -> Section:
    """Ask both servers in turn, in both ways."""
    model_file = write_tiny_bert(arena.workspace / "encoder.gguf", size=MINILM)
    arena.llamactor.create(_MODEL, model_file)
    with llama_server(arena.binary, model_file, arena.workspace, "--embedding") as theirs:
        theirs.wait_until_ready("/health")
        servers: dict[str, Server] = {"llamactor": arena.llamactor, "llama-server": theirs}
        with concurrent.futures.ThreadPoolExecutor(_N_TEXTS) as pool:
            for server in servers.values():
                _at_once(server)
                _side_by_side(server, pool)
            times_s = _measure(servers, pool, effort)
    middle = {key: percentile(found, 0.5) for key, found in times_s.items()}
    slower = {name: middle[name, "64 calls"] / middle[name, "one call"] for name in servers}
    rows = tuple((name, *[ms(middle[name, way]) for way in _WAYS], f"{slower[name]:.2f} x") for name in servers)
    their_call_s, their_calls_s = (middle["llama-server", way] for way in _WAYS)
    our_call_s, our_calls_s = (middle["llamactor", way] for way in _WAYS)
    return Section(
        name=NAME,
        title="64 short texts embedded",
        notes=("an encoder of MiniLM's size, 20 tokens per text; medians",),
        tables=(Table(header=("server", *[f"{way} ms" for way in _WAYS], "64 calls against one"), rows=rows),),
        gates=(
            at_least("64 embeddings in one call, against llama-server's", their_call_s / our_call_s, _SPEED, "x"),
            at_least("64 calls at once, against one of llama-server's", their_call_s / our_calls_s, _SPEED, "x"),
            at_least("64 calls at once, against 64 of llama-server's", their_calls_s / our_calls_s, _SPEED, "x"),
        ),
        figures=tuple(
            {"contender": name, "way": way, "time_s": value}
            for (name, way), found in times_s.items()
            for value in found
        ),
    )


def _measure(
    servers: dict[str, Server], pool: concurrent.futures.ThreadPoolExecutor, effort: Effort
) -> dict[tuple[str, str], list[float]]:
    times_s: dict[tuple[str, str], list[float]] = {(name, way): [] for name in servers for way in _WAYS}
    for number in range(effort.rounds):
        progress(f"{NAME}: round {number + 1} of {effort.rounds}")
        for _ in range(effort.embeddings):
            for name, server in servers.items():
                times_s[name, "one call"].append(_timed(lambda server=server: _at_once(server)))  # type: ignore[misc]
                times_s[name, "64 calls"].append(_timed(lambda server=server: _side_by_side(server, pool)))  # type: ignore[misc]
    return times_s


def _texts() -> list[str]:
    return [f"sentence {number:04} abcdef"[:18] for number in range(_N_TEXTS)]


def _at_once(server: Server) -> None:
    _embed(server, _texts())


def _side_by_side(server: Server, pool: concurrent.futures.ThreadPoolExecutor) -> None:
    for _ in pool.map(lambda text: _embed(server, text), _texts()):
        pass


def _embed(server: Server, texts: str | list[str]) -> None:
    status, body = server.call("POST", _PATH, {"model": _MODEL, "input": texts})
    if status != _OK:
        raise NotMeasured(f"{_PATH} answered {status}: {body[:200]!r}")


def _timed(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
