"""Cold start: nothing is loaded, the model file is in the page cache; how long to the first token?

For llama-server, from the start of its process. For ours, from the request to a server that is up and has nothing
loaded.
"""

import statistics
import time

from tests.benchmarks.answers import read_answer, status_of
from tests.benchmarks.arena import Arena, llama_server
from tests.benchmarks.effort import Effort
from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.llamactor import MODEL
from tests.benchmarks.load import LoadOrder, Recording, drive
from tests.benchmarks.numbers import ms, percentile
from tests.benchmarks.progress import progress
from tests.benchmarks.requests import Api, chat_request
from tests.benchmarks.results import Section, Table, at_most
from tests.benchmarks.server import Server

NAME = "cold-start"
_RATIO = 0.5
_N_TOKENS = 2
_TIMEOUT_S = 120.0
_POLL_S = 0.005
_UNAVAILABLE = 503


def run(arena: Arena, effort: Effort) -> Section:
    """Start each from cold, in turn."""
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(effort.rounds * effort.cold_starts):
        progress(f"{NAME}: {number + 1} of {effort.rounds * effort.cold_starts}")
        arena.llamactor.unload(MODEL)
        ours.append(arena.ask(arena.ours, n_tokens=_N_TOKENS).first_token_s)
        theirs.append(_llama_server_s(arena))
    arena.warm_up(arena.ours)
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    rows = tuple(
        (name, ms(min(found)), ms(percentile(found, 0.5)), ms(max(found)), str(len(found)))
        for name, found in ((arena.ours.name, ours), (arena.default.name, theirs))
    )
    return Section(
        name=NAME,
        title="Cold start to first token",
        notes=("llama-server from the start of its process; ours from the request, with nothing loaded",),
        tables=(Table(header=("server", "least ms", "p50 ms", "most ms", "samples"), rows=rows),),
        gates=(at_most("cold start to first token", ratio, _RATIO, "times llama-server"),),
        figures=tuple({"llamactor_s": mine, "llama_server_s": other} for mine, other in zip(ours, theirs, strict=True)),
    )


def _llama_server_s(arena: Arena) -> float:
    server = llama_server(arena.binary, arena.model_file, arena.workspace)
    prompt = next(arena.prompts)
    request = chat_request(Api.OPENAI, port=server.port, model=MODEL, prompt=prompt, n_tokens=_N_TOKENS)
    started_at = time.monotonic()
    with server:
        recording = _first_success(server, request, deadline=started_at + _TIMEOUT_S)
    return read_answer(recording, Api.OPENAI).token_times[0] - started_at


def _first_success(server: Server, request: bytes, *, deadline: float) -> Recording:
    """Ask until the server listens and has loaded."""
    while time.monotonic() < deadline:
        server.check_alive()
        try:
            (recording,) = drive(LoadOrder(server.port, ((request,),), _TIMEOUT_S)).recordings
        except ConnectionError:
            pass  # it does not listen yet
        else:
            if status_of(recording) != _UNAVAILABLE:
                return recording
        time.sleep(_POLL_S)
    raise NotMeasured(f"llama-server did not answer within {_TIMEOUT_S:g} s; the end of its log:\n{server.log_tail()}")
