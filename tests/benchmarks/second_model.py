"""A second model loads while the first one streams: what does the stream notice?

The second model is the first one's file under another `general.name`, because a server that sees the same file twice
would share one runner. The stream goes without speculation, whose drafts come in bursts.
"""

import itertools
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from registry.gguf import read_gguf
from tests.benchmarks.answers import Answer, read_answer
from tests.benchmarks.arena import Arena
from tests.benchmarks.effort import Effort
from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.llamactor import MODEL
from tests.benchmarks.load import LoadOrder, LoadRecord
from tests.benchmarks.numbers import ms, percentile
from tests.benchmarks.progress import progress
from tests.benchmarks.requests import chat_request
from tests.benchmarks.results import Section, Table, at_most

NAME = "second-model"
_SECOND = "bench-second"
_GAP_RATIO = 5.0
"""A pause of five tokens' time: short enough to go unnoticed by a reader."""
_BEFORE_S = 1.0
_AFTER_S = 1.0
_TIMEOUT_S = 120.0


class Gaps(msgspec.Struct, frozen=True, kw_only=True):
    """One load beside one stream."""

    load_s: float
    quiet_p50_s: float
    quiet_longest_s: float
    loading_longest_s: float
    settling_longest_s: float
    """After the load, while the new runner does what it does in its first idle moment."""

    @property
    def ratio(self) -> float:
        """The longest gap since the load began by the usual one before it."""
        return max(self.loading_longest_s, self.settling_longest_s) / self.quiet_p50_s


def run(arena: Arena, effort: Effort) -> Section:
    """Load the second model during a stream, and unload it again."""
    arena.llamactor.create(_SECOND, renamed(arena.model_file, arena.workspace / "second.gguf"))
    found: list[Gaps] = []
    for number in range(effort.rounds):
        progress(f"{NAME}: {number + 1} of {effort.rounds}")
        try:
            found.append(_measure(arena, effort))
        finally:
            arena.llamactor.unload(_SECOND)
    ratio = statistics.median(gaps.ratio for gaps in found)
    return Section(
        name=NAME,
        title="A second model loads while the first one streams",
        notes=(f"after: {_AFTER_S:g} s, in which the new runner does what it does in its first idle moment",),
        tables=(_table(found),),
        gates=(at_most("longest gap in a stream while another model loads", ratio, _GAP_RATIO, "times the quiet p50"),),
        figures=tuple(msgspec.to_builtins(gaps) for gaps in found),
    )


def _table(found: list[Gaps]) -> Table:
    header = (
        "load ms",
        "between tokens, before: p50 ms",
        "before: longest ms",
        "during: longest ms",
        "after: longest ms",
        "longest by p50",
    )
    rows = []
    for gaps in found:
        times_s = (
            gaps.load_s,
            gaps.quiet_p50_s,
            gaps.quiet_longest_s,
            gaps.loading_longest_s,
            gaps.settling_longest_s,
        )
        rows.append((*(ms(time_s) for time_s in times_s), f"{gaps.ratio:.1f}"))
    return Table(header=header, rows=tuple(rows))


def _measure(arena: Arena, effort: Effort) -> Gaps:
    request = chat_request(
        arena.ours.api,
        port=arena.llamactor.port,
        model=MODEL,
        prompt=next(arena.prompts),
        n_tokens=effort.second_model_tokens,
        more={"options": {"draft_num_predict": 0}},
    )
    order = LoadOrder(arena.llamactor.port, ((request,),), _TIMEOUT_S)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(msgspec.msgpack.encode(order))
        client.stdin.close()
        time.sleep(_BEFORE_S)
        started_at = time.monotonic()
        arena.llamactor.load(_SECOND)
        ended_at = time.monotonic()
        output = client.stdout.read()
    if client.returncode:
        raise NotMeasured("the stream beside the load failed")
    (recording,) = msgspec.msgpack.decode(output, type=LoadRecord).recordings
    return _gaps(read_answer(recording, arena.ours.api), started_at, ended_at)


def _gaps(answer: Answer, started_at: float, ended_at: float) -> Gaps:
    if answer.token_times[-1] < ended_at + _AFTER_S:
        raise NotMeasured("the stream ended before the second model's load did")
    gaps = list(itertools.pairwise(answer.token_times))
    quiet = [end - begin for begin, end in gaps if end <= started_at]
    return Gaps(
        load_s=ended_at - started_at,
        quiet_p50_s=percentile(quiet, 0.5),
        quiet_longest_s=max(quiet),
        loading_longest_s=max(end - begin for begin, end in gaps if begin < ended_at and end > started_at),
        settling_longest_s=max(end - begin for begin, end in gaps if begin < ended_at + _AFTER_S and end > ended_at),
    )


def renamed(model_file: Path, copy: Path) -> Path:
    """Copy a GGUF file with another last letter in its name: same size, other digest."""
    name = str(read_gguf(model_file).metadata["general.name"]).encode()
    content = model_file.read_bytes()
    last = b"x" if name[-1:] != b"x" else b"y"
    copy.write_bytes(content.replace(name, name[:-1] + last, 1))
    return copy
