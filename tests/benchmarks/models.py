"""Models that come and are listed: a pull from the loopback beside curl, and `/api/tags` of a store of 2,000 models."""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.folders import ROOT
from registry.atomic import write_atomically
from registry.digests import digest_of_file
from registry.manifests import CONFIG, WEIGHTS, Layer, Manifest, ModelConfig, go_json
from registry.names import ModelName
from registry.store import Store
from tests.benchmarks.effort import Effort
from tests.benchmarks.errors import NotMeasured
from tests.benchmarks.llamactor import Llamactor
from tests.benchmarks.numbers import ms
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_least, at_most

NAME = "models"
_LEAST_RATIO = 0.5
_MOST_TAGS_MS = 100.0
_N_MODELS = 2000
_N_LISTINGS = 20
_PIECE_BYTES = 16 << 20
_MEGA = 1e6
_MILLI = 1e3
_CURL_TIMEOUT_S = 300.0


def run(model: Path, effort: Effort) -> Section:
    """Pull a large file in turn with curl, then list a large store."""
    with tempfile.TemporaryDirectory(prefix="llb-") as folder:
        workspace = Path(folder)
        with Llamactor(workspace) as server:
            server.wait_until_ready("/api/version")
            rounds = list(_pulls(server, workspace, effort))
            _fill(Store(workspace / "store"), model)
            listings_s = _listings(server)
    curl_s, pull_s = (statistics.median(each) for each in zip(*rounds, strict=True))
    ratio = statistics.median(curl / pull for curl, pull in rounds)
    rate = effort.pull_bytes / _MEGA
    rows = (
        ("curl", f"{rate / curl_s:.0f}", f"{curl_s:.2f}"),
        ("pull, hashed, durable, visible in the store", f"{rate / pull_s:.0f}", f"{pull_s:.2f}"),
    )
    return Section(
        name=NAME,
        title="Models that come and are listed",
        notes=(f"pulled: {effort.pull_bytes / _MEGA:.0f} MB from a server of our own on the loopback",),
        tables=(
            Table(header=("pull", "MB/s", "s"), rows=rows),
            Table(
                header=("`/api/tags`", "first, ms", "warm, ms"),
                rows=((f"{_N_MODELS} models", ms(listings_s[0]), ms(statistics.median(listings_s[1:]))),),
            ),
        ),
        gates=(
            at_least("pull from loopback, of curl's speed", ratio, _LEAST_RATIO, "of curl"),
            at_most("`/api/tags`, warm", statistics.median(listings_s[1:]) * _MILLI, _MOST_TAGS_MS, "ms"),
        ),
        figures=tuple({"curl_s": curl, "pull_s": pull} for curl, pull in rounds),
    )


def _pulls(server: Llamactor, workspace: Path, effort: Effort) -> Iterator[tuple[float, float]]:
    """Give the seconds of curl and of a pull, round by round; the first round only warms up."""
    source = workspace / "weights"
    piece = os.urandom(_PIECE_BYTES)
    with source.open("wb") as file:
        for _ in range(effort.pull_bytes // _PIECE_BYTES):
            file.write(piece)
    digest = digest_of_file(source)
    with _serving(source, digest) as port:
        for number in range(effort.rounds + 1):
            progress(f"{NAME}: pull {number}")
            curl_s = _curl(f"http://127.0.0.1:{port}/v2/a/b/blobs/{digest}", workspace / "fetched")
            pull_s = _pull(server, f"127.0.0.1:{port}/a/b")
            shutil.rmtree(workspace / "store")
            if number:
                yield curl_s, pull_s


@contextlib.contextmanager
def _serving(source: Path, digest: str) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.benchmarks.file_server", str(source), digest]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _curl(url: str, target: Path) -> float:
    if shutil.which("curl") is None:
        raise NotMeasured("there is no curl to compare with")
    started_at = time.perf_counter()
    subprocess.run(["curl", "-sf", "-o", str(target), url], check=True, timeout=_CURL_TIMEOUT_S)  # noqa: S607 - as installed
    took_s = time.perf_counter() - started_at
    target.unlink()
    return took_s


def _pull(server: Llamactor, name: str) -> float:
    started_at = time.perf_counter()
    _, answer = server.call("POST", "/api/pull", {"model": name, "insecure": True, "stream": False})
    took_s = time.perf_counter() - started_at
    if json.loads(answer) != {"status": "success"}:
        raise NotMeasured(f"the pull failed: {answer.decode(errors='replace')}")
    return took_s


def _fill(store: Store, model: Path) -> None:
    """Install one file under many names, each with a configuration of its own."""
    progress(f"{NAME}: {_N_MODELS} models")
    weights = Layer(WEIGHTS, store.blobs.add_file(model), model.stat().st_size)
    for number in range(_N_MODELS):
        content = go_json(ModelConfig(model_format="gguf", model_family="llama", model_type=f"{number}M"))
        digest, _ = store.blobs.add(content)
        manifest = Manifest(config=Layer(CONFIG, digest, len(content)), layers=(weights,))
        name = ModelName("registry.ollama.ai", "library", f"model-{number % 500}", f"v{number // 500}")
        write_atomically(store.manifests / name.path, go_json(manifest), scratch=store.manifests)


def _listings(server: Llamactor) -> list[float]:
    taken_s = []
    for _ in range(_N_LISTINGS):
        started_at = time.perf_counter()
        _, answer = server.call("GET", "/api/tags")
        taken_s.append(time.perf_counter() - started_at)
    if len(json.loads(answer)["models"]) != _N_MODELS:
        raise NotMeasured("the listing does not have all models")
    return taken_s
