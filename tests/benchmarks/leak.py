"""Ten thousand short requests of all kinds to a tiny model: what each process of the server holds before and after.

The first tenth fills what is bounded: caches of templates and grammars, and the allocator's pools. Conversations that
are long enough for the KV tier, which has a bound of its own, repeat.
"""

import concurrent.futures
import itertools
import json
import random
import socket
from collections.abc import Callable, Mapping
from typing import Any

from deploy.folders import ROOT
from tests.benchmarks.arena import Arena
from tests.benchmarks.effort import Effort
from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.numbers import mib
from tests.benchmarks.processes import memory_of, short_title
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_most
from tests.benchmarks.server import Server

NAME = "leak"
_MOST_GROWN_MIB = 8.0
_JOURNAL_MIB = 16.0
"""The scheduler's journal holds 8,192 events, which a thousand requests do not fill."""
_MEBI = 1 << 20
_MODEL = "bench-tiny"
_FILE = ROOT / "tests" / "data" / "tiny-chatml-tools.gguf"
_N_CLIENTS = 8
_FIRST_SHARE = 10
_OK = 200
_TIMEOUT_S = 60.0
_N_TOKENS = 8
_PREFIX = "Once there was a river that ran to the sea, and the sea was wide. " * 6
_SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}


def run(arena: Arena, effort: Effort) -> Section:
    """Send a tenth of the requests, look, send the rest, and look again."""
    server = arena.llamactor
    server.create(_MODEL, _FILE)
    n_first = effort.short_requests // _FIRST_SHARE
    _send(server, range(n_first))
    before = _memory(server)
    _send(server, range(n_first, effort.short_requests))
    after = _memory(server)
    server.unload(_MODEL)
    grown = {title: (rss - before.get(title, rss)) / _MEBI for title, rss in after.items()}
    runner = next(title for title in after if _MODEL in title)
    return Section(
        name=NAME,
        title=f"Memory after {n_first:,} and {effort.short_requests:,} short requests",
        notes=("plain, formats, stop strings, log probabilities, cancelled streams, embeddings, shared beginnings",),
        tables=(
            Table(
                header=("process", "RSS MiB before", "RSS MiB after", "grown MiB"),
                rows=tuple(
                    (title, mib(before.get(title, 0)), mib(rss), f"{grown[title]:.1f}") for title, rss in after.items()
                ),
            ),
        ),
        gates=tuple(
            at_most(
                f"memory that {effort.short_requests - n_first:,} requests leave, {name}", grown[title], limit, "MiB"
            )
            for name, title, limit in (
                ("runner", runner, _MOST_GROWN_MIB),
                ("gateway", "llamactor: gateway", _MOST_GROWN_MIB),
                ("scheduler", "llamactor: scheduler", _JOURNAL_MIB),
            )
        ),
        figures=tuple({"process": title, "grown_mib": value} for title, value in grown.items()),
    )


def _send(server: Server, numbers: range) -> None:
    kinds: list[Callable[[Server, int], None]] = [_plain, _schema, _stop, _logprobs, _cancel, _embed, _prefix]
    with concurrent.futures.ThreadPoolExecutor(_N_CLIENTS) as pool:
        jobs = zip(numbers, itertools.cycle(kinds), strict=False)
        for done, _ in enumerate(pool.map(lambda job: job[1](server, job[0]), jobs)):
            if done % 1000 == 0:
                progress(f"{NAME}: {numbers.start + done} of {numbers.stop}")


def _plain(server: Server, number: int) -> None:
    _generate(server, {"prompt": f"Hello {number}"})


def _schema(server: Server, number: int) -> None:
    _generate(server, {"prompt": f"Hello {number}", "format": _SCHEMA})


def _stop(server: Server, number: int) -> None:
    _generate(server, {"prompt": f"Hello {number}", "options": {"stop": ["e", f"end {number}"], "seed": number}})


def _logprobs(server: Server, number: int) -> None:
    _generate(server, {"prompt": f"Hello {number}", "logprobs": True, "top_logprobs": 3})


def _prefix(server: Server, number: int) -> None:
    _generate(server, {"prompt": f"{_PREFIX} {number % 16}", "options": {"temperature": 0}})


def _embed(server: Server, number: int) -> None:
    _call(server, "/api/embed", {"model": _MODEL, "input": [f"text {number}", "another"]})


def _cancel(server: Server, number: int) -> None:
    """Leave before the answer is over; some before it begins."""
    options = {"num_predict": 40, "temperature": 0}
    body = json.dumps({"model": _MODEL, "prompt": f"Count to {number % 16}", "options": options}).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(
            b"POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        if random.Random(number).random() < 0.8:  # noqa: S311  # no secret, and the same in every run
            connection.recv(1 << 16)


def _generate(server: Server, body: Mapping[str, Any]) -> None:
    options = {"temperature": 1, **body.get("options", {}), "num_predict": _N_TOKENS}
    _call(server, "/api/generate", {**body, "model": _MODEL, "raw": True, "stream": False, "options": options})


def _call(server: Server, path: str, body: Mapping[str, Any]) -> None:
    status, answer = server.call("POST", path, body)
    if status != _OK:
        raise NotMeasured(f"{path} answered {status}: {answer[:200]!r}")


def _memory(server: Server) -> dict[str, int]:
    return {short_title(pid): memory_of(pid).rss_bytes for pid in server.pids}
