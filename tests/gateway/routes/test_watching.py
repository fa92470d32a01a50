"""`progress: true`: what a native stream tells before its first token."""

import json
from typing import Any

import pytest

from actors.errors import DecodeFailed, QueueFull
from actors.messages.runner_to_gateway import Prefill
from actors.messages.scheduler_to_gateway import JobProgress
from tests.gateway.conftest import RunningGateway
from tests.support.stub_backend import StubBackend, StubJob

GENERATE: dict[str, Any] = {"model": "smollm2", "prompt": "x", "progress": True}
CHAT: dict[str, Any] = {"model": "smollm2", "messages": [{"role": "user", "content": "x"}], "progress": True}


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def _waits(*told: tuple[int, float | None]) -> list[JobProgress]:
    return [JobProgress(request_id="", n_ahead=n_ahead, load_fraction=fraction) for n_ahead, fraction in told]


@pytest.mark.parametrize(("path", "body"), [("/api/generate", GENERATE), ("/api/chat", CHAT)])
async def test_stream_tells_queue_load_and_prompt_before_its_first_token(
    gateway: RunningGateway, backend: StubBackend, path: str, body: dict[str, Any]
) -> None:
    """Each stage once per change, as pieces of empty text, then the answer as ever."""
    backend.progress = _waits((2, None), (2, None), (1, 0.25), (0, 0.75))

    async def answer(job: StubJob) -> None:
        assert job.body is not None
        assert job.body.tells_prefill
        await job.accept()
        told = Prefill(job.submit.job_id, job.submit.attempt, 3, 0, 4)
        await job.publish(told, job.delta(1, "yes"), job.finished(2))

    backend.plan = answer
    response = await gateway.post(path, body)
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = _lines(response.text)
    progress = [line["progress"] for line in lines if "progress" in line]
    assert progress == [
        {"stage": "queued", "position": 3},
        {"stage": "loading", "position": 2, "fraction": 0.25},
        {"stage": "loading", "position": 1, "fraction": 0.75},
        {"stage": "prefill", "fraction": 0.75, "done_tokens": 3, "prompt_tokens": 4},
    ]
    texts = [line["response"] if "response" in line else line["message"]["content"] for line in lines]
    assert texts == ["", "", "", "", "yes", ""]
    assert [line["done"] for line in lines] == [False] * 5 + [True]


async def test_stream_that_is_refused_at_once_keeps_its_status(gateway: RunningGateway, backend: StubBackend) -> None:
    """Before anything was told, an error is a response of its own."""
    backend.refusal = QueueFull(1).as_failure()
    response = await gateway.post("/api/generate", GENERATE)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


async def test_stream_that_fails_while_it_waits_ends_with_the_error(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """After that it is the last line."""
    backend.progress = _waits((0, None))

    async def fail(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.failed(1, DecodeFailed("no space").as_failure()))

    backend.plan = fail
    response = await gateway.post("/api/generate", GENERATE)
    waiting, error = _lines(response.text)
    assert (response.status_code, waiting["progress"]["stage"], error) == (200, "queued", {"error": "no space"})


async def test_whole_answer_tells_no_progress(gateway: RunningGateway, backend: StubBackend) -> None:
    """There is nothing that could be told before it."""
    del backend
    response = await gateway.post("/api/generate", GENERATE | {"stream": False})
    assert response.json()["response"] == "Hello world"
    assert "progress" not in response.json()
