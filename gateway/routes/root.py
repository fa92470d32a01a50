"""`/`, `/api/version` and `/api/ps`: what the server is and what it has loaded."""

import time

import msgspec
from quart import Blueprint, Response

from actors.messages.overview import RunnerStatus
from gateway.routes.answering import json_response
from gateway.version import OLLAMA_VERSION, llamactor_version
from gateway.wire.json_text import local_text, to_json
from gateway.worker import Worker

_NS_PER_S = 1_000_000_000


def root_routes(worker: Worker) -> Blueprint:
    """Build the routes."""
    routes = Blueprint("root", __name__)

    @routes.get("/")
    async def root() -> Response:
        return Response("Ollama is running", content_type="text/plain; charset=utf-8")

    @routes.get("/api/version")
    async def version() -> Response:
        return json_response(to_json({"version": OLLAMA_VERSION, "llamactor": llamactor_version()}))

    @routes.get("/api/ps")
    async def ps() -> Response:
        runners = await worker.jobs.questions.runners()
        now_ns = time.time_ns()
        return json_response(to_json({"models": [_loaded(runner, now_ns) for runner in runners]}))

    return routes


def _loaded(runner: RunnerStatus, now_ns: int) -> dict[str, object]:
    return {
        "name": runner.name,
        "model": runner.name,
        "size": runner.size_bytes,
        "digest": runner.digest,
        "details": msgspec.structs.asdict(runner.details),
        "expires_at": local_text(now_ns + round(runner.expires_in_s * _NS_PER_S)),
        "size_vram": runner.size_vram_bytes,
        "context_length": runner.num_ctx,
        "llamactor": {
            "runner": runner.runner_id,
            "host": runner.host,
            "slots": runner.n_slots,
            "active": runner.n_held,
            "queued": runner.n_queued,
            "kv_tokens": runner.use.kv_used_tokens,
            "tokens_per_s": round(runner.use.decode_tokens_per_s, 1),
            "threads": runner.use.n_threads or runner.n_threads,
            "placement": runner.where,
            "why": runner.cause,
            "pinned": runner.is_pinned,
        },
    }
