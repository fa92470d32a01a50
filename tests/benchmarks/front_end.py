"""One gateway worker alone, in a process of its own; the runner is a stub that computes nothing.

Three measurements over 32 streams of `/api/chat` and `/v1/chat/completions`:

* merged: the runner publishes as fast as its socket takes it, so the gateway merges what its clients have not read;
* unmerged: the runner publishes a step only when every client has read the last one, so every token is a line;
* first byte: from the publishing of a first token to the arrival of the answer's first byte.

The worker is one thread, so its rate is tokens per second of its own processor time: what other processes take from the
cores does not count. Stub and clients share one process, whose time does not count either.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from actors.errors import Backlogged
from actors.messages.runner_to_gateway import Delta, Step
from registry.store import Store
from tests.benchmarks.effort import Effort
from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.processes import cpu_times_s
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_least, at_most
from tests.gateway.stub_models import install, write_chat_gguf
from tests.support.stub_backend import StubBackend, StubJob, running_backend

NAME = "front_end"
_N_STREAMS = 32
_WORD = " word"
_MERGED_RATE = 50_000.0
_UNMERGED_RATE = 10_000.0
_FIRST_BYTE_MS = 2.0
_START_S = 20.0
_DEADLINE_S = 300.0
_ROUTES = ("/api/chat", "/v1/chat/completions")
_BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}'


@dataclass(frozen=True, slots=True)
class Work:
    """What one measurement took of the worker."""

    n_tokens: int
    cpu_s: float
    wall_s: float
    n_bytes: int

    @property
    def rate(self) -> float:
        """Tokens per second of the worker's processor time."""
        return self.n_tokens / self.cpu_s

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time per token."""
        return 1e6 * self.cpu_s / self.n_tokens


def run(effort: Effort) -> Section:
    """Measure one worker."""
    n_steps = 4000 if effort.rounds > 1 else 500
    return trio.run(_run, n_steps)


async def _run(n_steps: int) -> Section:
    merged, unmerged, rows = {}, {}, []
    with trio.fail_after(_DEADLINE_S):
        async with _bench() as bench:
            for route in _ROUTES:
                progress(f"{NAME}: {route}")
                merged[route] = await bench.measure(route, n_steps, waits=False)
                unmerged[route] = await bench.measure(route, n_steps // 4, waits=True)
                for kind, work in (("merged", merged[route]), ("one line per token", unmerged[route])):
                    wall = f"{work.n_tokens / work.wall_s:,.0f}"
                    rows.append((route, kind, f"{work.rate:,.0f}", f"{work.cpu_us:.1f}", wall))
            delays_ms = [await bench.first_byte_ms() for _ in range(n_steps // 20)]
    p50, p99 = statistics.median(delays_ms), statistics.quantiles(delays_ms, n=100)[98]
    return Section(
        name=NAME,
        title=f"The front end alone: one gateway worker, {_N_STREAMS} streams, a runner that computes nothing",
        notes=(
            "a rate is per second of the worker's own processor time; the last column is what was seen on the clock",
        ),
        tables=(
            Table(header=("route", "text", "tokens/s", "CPU µs/token", "tokens/s, wall"), rows=tuple(rows)),
            Table(header=("first byte", "ms"), rows=(("p50", f"{p50:.2f}"), ("p99", f"{p99:.2f}"))),
        ),
        gates=(
            at_least("front end, merged", min(w.rate for w in merged.values()), _MERGED_RATE, "tokens/s"),
            at_least(
                "front end, one line per token", min(w.rate for w in unmerged.values()), _UNMERGED_RATE, "tokens/s"
            ),
            at_most("front end, first byte (p50)", p50, _FIRST_BYTE_MS, "ms"),
        ),
        figures=tuple(
            {"route": route, "merged": kind == "merged", "tokens_per_s": work[route].rate, "cpu_us": work[route].cpu_us}
            for kind, work in (("merged", merged), ("unmerged", unmerged))
            for route in _ROUTES
        ),
    )


class _Bench:
    """A worker under load."""

    def __init__(self, backend: StubBackend, port: int, pid: int) -> None:
        self._backend = backend
        self._port = port
        self._pid = pid
        self._send, self._jobs = trio.open_memory_channel[StubJob](_N_STREAMS)
        backend.plan = self._send.send

    async def measure(self, route: str, n_steps: int, *, waits: bool) -> Work:
        """Stream `n_steps` tokens to every client."""
        streams = [await self._ask(route) for _ in range(_N_STREAMS)]
        jobs = [await self._jobs.receive() for _ in streams]
        for job in jobs:
            await job.accept()
        await self._step(jobs, 1)
        read = [await stream.receive_some(1 << 16) for stream in streams]
        counters = [_Counter(stream, len(first)) for stream, first in zip(streams, read, strict=True)]
        cpu_s, started_at = cpu_times_s([self._pid])[self._pid], time.monotonic()
        async with trio.open_nursery() as nursery:
            for counter in counters:
                nursery.start_soon(counter.run)
            for seq in range(2, n_steps + 2):
                expected = [counter.n_reads for counter in counters]
                await self._step(jobs, seq)
                if waits:
                    for counter, n_reads in zip(counters, expected, strict=True):
                        await counter.wait_beyond(n_reads)
            for job in jobs:
                await job.publish(job.finished(n_steps + 2))
        spent_s = cpu_times_s([self._pid])[self._pid] - cpu_s
        for stream in streams:
            await stream.aclose()
        n_bytes = sum(counter.n_bytes for counter in counters)
        return Work(n_steps * _N_STREAMS, spent_s, time.monotonic() - started_at, n_bytes)

    async def first_byte_ms(self) -> float:
        """Time the first byte of one answer from its first token."""
        stream = await self._ask(_ROUTES[0])
        job = await self._jobs.receive()
        await job.accept()
        started_at = time.perf_counter()
        await job.publish(job.delta(1, _WORD))
        await stream.receive_some(1 << 16)
        delay_ms = 1e3 * (time.perf_counter() - started_at)
        await job.publish(job.finished(2))
        await stream.aclose()
        return delay_ms

    async def _ask(self, route: str) -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        head = f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(_BODY)}\r\nConnection: close\r\n\r\n"
        await stream.send_all(head.encode() + _BODY)
        return stream

    async def _step(self, jobs: Sequence[StubJob], seq: int) -> None:
        parts = tuple(Delta(job.submit.job_id, job.submit.attempt, seq, _WORD, (seq,)) for job in jobs)
        while True:
            try:
                await jobs[0].runner.publish(jobs[0].gateway_id, Step(parts))
            except Backlogged:
                await trio.sleep(0.001)
            else:
                return


class _Counter:
    """Reads one answer to its end."""

    def __init__(self, stream: trio.SocketStream, n_bytes: int) -> None:
        self._stream = stream
        self.n_bytes = n_bytes
        self.n_reads = 0
        self._changed = trio.Event()

    async def run(self) -> None:
        """Count until the answer has ended."""
        while data := await self._stream.receive_some(1 << 16):
            self.n_bytes += len(data)
            self.n_reads += 1
            self._changed.set()
            self._changed = trio.Event()

    async def wait_beyond(self, n_reads: int) -> None:
        """Wait until more was read than so many times."""
        while self.n_reads <= n_reads:
            await self._changed.wait()


@asynccontextmanager
async def _bench() -> AsyncIterator[_Bench]:
    with tempfile.TemporaryDirectory(prefix="lla-", dir="/tmp") as folder:
        place = Path(folder)
        write_chat_gguf(place / "chat.gguf")
        store = Store(place / "models")
        install(store, "m", place / "chat.gguf")
        async with running_backend(place) as backend:
            listener = trio.socket.socket()
            await listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            listener.close()
            worker = _started(place, {"LLAMACTOR_SCHEDULER": backend.endpoint, "OLLAMA_HOST": f"127.0.0.1:{port}"})
            try:
                await _wait_until_it_listens(worker, port)
                yield _Bench(backend, port, worker.pid)
            finally:
                worker.kill()
                worker.wait()


def _started(place: Path, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    environ = os.environ | {"LLAMACTOR_RUN_DIR": str(place), "OLLAMA_MODELS": str(place / "models")} | environ
    with (place / "log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "gateway"], env=environ, stderr=log)


async def _wait_until_it_listens(worker: "subprocess.Popen[bytes]", port: int) -> None:
    with trio.move_on_after(_START_S):
        while worker.poll() is None:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return
    raise NotMeasured("the gateway did not start")
