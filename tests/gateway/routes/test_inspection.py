"""`/api/tokenize`, `/api/detokenize` and `/api/apply-template`, with a scripted runner behind them."""

from typing import Any

import msgspec
import pytest

from actors.errors import InvalidRequest
from actors.messages.job import ChatMessage, ChatPrompt, JobBody, RawPrompt, Task, TokenPrompt
from tests.gateway.conftest import RunningGateway
from tests.support.stub_backend import Log, StubBackend, StubJob

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def bodies(backend: StubBackend) -> Log[JobBody]:
    """What the runner got, of jobs that it answers with a text and tokens."""
    log = Log[JobBody]()

    async def answer(job: StubJob) -> None:
        assert job.body is not None
        log.add(job.body)
        await job.accept()
        await job.publish(msgspec.structs.replace(job.finished(1, "text"), context=(4, 5)))

    backend.plan = answer
    return log


async def test_tokenize_gives_tokens(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """Special tokens are added only on demand."""
    answer = (await gateway.post("/api/tokenize", {"model": "smollm2", "content": "Hi"})).json()
    assert (answer["model"], answer["tokens"]) == ("smollm2", [4, 5])
    assert answer["total_duration"] >= answer["load_duration"] >= 0
    await gateway.post("/api/tokenize", {"model": "smollm2", "content": "", "add_special": True})
    assert [(body.task, body.prompt) for body in bodies.items] == [
        (Task.TOKENIZE, RawPrompt(text="Hi", add_special=False)),
        (Task.TOKENIZE, RawPrompt(text="", add_special=True)),
    ]


async def test_detokenize_gives_text(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """No tokens are a text, too."""
    answer = (await gateway.post("/api/detokenize", {"model": "smollm2", "tokens": [1, 2]})).json()
    assert (answer["model"], answer["content"]) == ("smollm2", "text")
    assert (await gateway.post("/api/detokenize", {"model": "smollm2", "tokens": []})).status_code == 200
    assert [(body.task, body.prompt) for body in bodies.items] == [
        (Task.DETOKENIZE, TokenPrompt(tokens=(1, 2))),
        (Task.DETOKENIZE, TokenPrompt(tokens=())),
    ]


async def test_apply_template_gives_the_prompt(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """Messages, tools and thinking reach the template as in a chat."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    request = {"model": "tiny-tools", "messages": HI, "tools": [tool], "think": False}
    answer = (await gateway.post("/api/apply-template", request)).json()
    assert (answer["prompt"], answer["prompt_eval_count"]) == ("text", 5)
    assert bodies.items[0].task is Task.RENDER
    assert bodies.items[0].prompt == ChatPrompt(
        messages=(ChatMessage(role="user", content="Hi"),), tools=(tool,), think=False
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("tokenize", {"model": "smollm2"}, 400, "content is required"),
        ("tokenize", {"content": "x"}, 400, "model is required"),
        ("tokenize", {"model": "nope", "content": "x"}, 404, "model 'nope' not found"),
        ("tokenize", {"model": "smollm2", "content": "x" * (5 << 20)}, 413, "too large"),
        ("detokenize", {"model": "smollm2"}, 400, "tokens is required"),
        ("detokenize", {"model": "smollm2", "tokens": ["a"]}, 400, "DetokenizeRequest.tokens"),
        ("detokenize", {"model": "smollm2", "tokens": [-1]}, 400, "tokens"),
        ("apply-template", {"model": "smollm2"}, 400, "messages is required"),
        ("apply-template", {"model": "smollm2", "messages": HI, "think": True}, 400, "does not support thinking"),
        ("apply-template", {"model": "smollm2", "messages": HI, "tools": [{}]}, 400, "does not support tools"),
        ("apply-template", {"model": "smollm2", "messages": HI, "keep_alive": []}, 400, "Unsupported type"),
    ],
)
async def test_inspection_refuses_by_name(
    gateway: RunningGateway, path: str, body: dict[str, Any], status: int, text: str
) -> None:
    """What is missing or wrong is named."""
    response = await gateway.post(f"/api/{path}", body)
    assert response.status_code == status
    assert text in response.json()["error"]


async def test_inspection_that_the_runner_refuses_is_the_caller_s(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """Ids that the vocabulary does not have come back as a bad request."""

    async def refuse(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.failed(1, InvalidRequest("tokens holds 99").as_failure()))

    backend.plan = refuse
    response = await gateway.post("/api/detokenize", {"model": "smollm2", "tokens": [99]})
    assert (response.status_code, response.json()) == (400, {"error": "tokens holds 99"})
