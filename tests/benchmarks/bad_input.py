"""`python -m tests.benchmarks.bad_input [COUNT]`: bad requests from the OpenAPI description against a gateway.

Every field of every route is given every wrong value once; then the same again in another order until COUNT (10,000 if
not given) requests are answered. Prints what was wrong, the slowest answers, and what the process kept. No model is
needed: a stub stands for scheduler and runners.
"""

import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import trio

from actors.settings import Settings
from gateway.openapi.document import openapi_document
from registry.store import Store
from tests.gateway.conftest import DEADLINE_S, running_gateway
from tests.gateway.stub_models import install, write_chat_gguf, write_embedding_gguf
from tests.support.bad_input import bad_requests, complaint
from tests.support.stub_backend import running_backend

COUNT = 10_000
_KIB = 1024
_CONNECTIONS = 8
"""That many files the client's own connection, and the store's locks, may take."""


def main() -> int:
    """Run it; the exit status is 1 when anything was wrong."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    with tempfile.TemporaryDirectory(prefix="lla-", dir="/tmp") as folder:
        return trio.run(_run, Path(folder), count)


async def _run(folder: Path, count: int) -> int:
    store = Store(folder / "models")
    write_chat_gguf(folder / "chat.gguf")
    write_embedding_gguf(folder / "embedding.gguf")
    install(store, "smollm2", folder / "chat.gguf")
    install(store, "minilm", folder / "embedding.gguf")
    everything = list(bad_requests(openapi_document()))
    order = random.Random(6)  # noqa: S311  # an order, no secret
    statuses: Counter[int] = Counter()
    found: dict[str, str] = {}
    slowest = (0.0, "")
    async with running_backend(folder) as backend:
        settings = Settings(port=0, run_dir=folder, scheduler_endpoint=backend.endpoint, models=store.root)
        async with running_gateway(settings, store) as gateway:
            memory_before, files_before = _memory_bytes(), _n_files()
            for number in range(count):
                if number % len(everything) == 0 and number:
                    order.shuffle(everything)
                request = everything[number % len(everything)]
                started = time.perf_counter()
                with trio.fail_after(DEADLINE_S):
                    response = await gateway.client.request(request.method, request.path, content=request.content)
                if request.path == "/api/delete":
                    install(store, "smollm2", folder / "chat.gguf")
                slowest = max(slowest, (time.perf_counter() - started, request.name))
                statuses[response.status_code] += 1
                content_type = response.headers.get("content-type", "")
                wrong = complaint(request, response.status_code, content_type, response.content)
                if wrong:
                    found[request.name] = wrong
                if number == len(everything):  # pools and caches are filled
                    memory_before = _memory_bytes()
            with trio.move_on_after(DEADLINE_S):  # an answer may be read before its request is put away
                while gateway.jobs.n_jobs:  # noqa: ASYNC110  # nothing announces it
                    await trio.sleep(0.01)
            kept = (gateway.jobs.n_jobs, _n_files() - files_before, _memory_bytes() - memory_before)
    told = [f"{name}: {wrong}" for name, wrong in found.items()]
    told.append(f"{count} requests of {len(everything)} kinds; statuses {dict(sorted(statuses.items()))}")
    told.append(f"{len(found)} answers were wrong; slowest {slowest[0] * 1e3:.0f} ms ({slowest[1]})")
    told.append(f"kept: {kept[0]} jobs, {kept[1]} files, {kept[2] / _KIB / _KIB:.1f} MiB more at most")
    sys.stdout.write("\n".join([*told, ""]))
    return 1 if found or kept[0] or kept[1] > _CONNECTIONS else 0


def _n_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


if __name__ == "__main__":
    sys.exit(main())
