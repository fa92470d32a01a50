"""`/api/generate` over a real server, with a scripted runner behind it."""

import json
from typing import Any

import msgspec
import pytest
import trio

from actors.errors import DecodeFailed, Failure, InsufficientMemory, QueueFull, RunnerDied
from actors.messages.gateway_to_scheduler import JobKind
from actors.messages.job import (
    ChatMessage,
    ChatPrompt,
    FillPrompt,
    Grammar,
    GrammarKind,
    JobBody,
    RawPrompt,
    Task,
)
from actors.messages.runner_to_gateway import DoneReason, TokenLogprob
from registry.create import CreateRequest, create
from registry.store import Store
from tests.gateway.conftest import RunningGateway
from tests.support.stub_backend import Log, StubBackend, StubJob

GENERATE = "/api/generate"


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def bodies(backend: StubBackend) -> Log[JobBody]:
    """What the runner got, of jobs that it answers with `ok`."""
    log = Log[JobBody]()

    async def answer(job: StubJob) -> None:
        assert job.body is not None
        log.add(job.body)
        await job.say("ok")

    backend.plan = answer
    return log


async def test_generate_streams_lines(gateway: RunningGateway) -> None:
    """Text comes line by line, then a last line with reason, context and figures."""
    response = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "Hi"})
    *deltas, last = _lines(response.text)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/x-ndjson")
    assert "".join(line["response"] for line in deltas) == "Hello world"
    assert [list(line) for line in deltas] == [["model", "created_at", "response", "done"]] * len(deltas)
    assert (last["response"], last["done"], last["done_reason"], last["context"]) == ("", True, "stop", [1, 2, 3])
    assert (last["prompt_eval_count"], last["eval_count"], last["model"]) == (5, 3, "smollm2")
    assert 0 <= last["load_duration"] <= last["total_duration"]


async def test_generate_whole_gives_one_object(gateway: RunningGateway) -> None:
    """Without streaming the answer is one object of the other media type."""
    response = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "Hi", "stream": False})
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json()["response"] == "Hello world"


async def test_generate_splits_thinking_off(gateway: RunningGateway, backend: StubBackend) -> None:
    """A model that thinks has its thinking apart, and thinks unless told otherwise."""
    prompts: list[Any] = []

    async def think(job: StubJob) -> None:
        prompts.append(job.body.prompt if job.body else None)
        await job.say("<th", "ink>\nhm", "\n</think>\n\n", "yes")

    backend.plan = think
    response = await gateway.post(GENERATE, {"model": "tiny-tools", "prompt": "Hi", "stream": False})
    assert (response.json()["thinking"], response.json()["response"]) == ("hm", "yes")
    assert prompts[0].think is True
    raw = await gateway.post(GENERATE, {"model": "tiny-tools", "prompt": "Hi", "stream": False, "raw": True})
    assert "thinking" not in raw.json()
    assert raw.json()["response"].startswith("<think>")


async def test_generate_sends_one_turn_with_system(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """A prompt is one turn of a chat, behind the request's system text."""
    request = {"model": "smollm2", "prompt": "Hi", "system": "S", "context": [7, 8], "options": {"num_keep": 9}}
    await gateway.post(GENERATE, request)
    body = bodies.items[0]
    messages = (ChatMessage(role="system", content="S"), ChatMessage(role="user", content="Hi"))
    assert body.prompt == ChatPrompt(messages=messages, context_tokens=(7, 8))
    assert (body.return_context, body.truncate, body.num_keep) == (True, True, 9)


async def test_generate_raw_sends_the_text_as_it_is(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """A raw prompt is not rendered, and its answer has no context."""
    response = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "x", "raw": True, "stream": False})
    assert bodies.items[0].prompt == RawPrompt(text="x")
    assert not bodies.items[0].return_context
    assert "context" not in response.json()


async def test_generate_without_a_prompt_loads(gateway: RunningGateway, backend: StubBackend) -> None:
    """An empty prompt loads the model and answers one object, also when streaming."""
    response = await gateway.post(GENERATE, {"model": "smollm2", "keep_alive": "10m", "options": {"num_ctx": 99999}})
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert list(response.json()) == ["model", "created_at", "response", "done", "done_reason"]
    assert response.json()["done_reason"] == "load"
    submit = backend.submitted.items[0]
    assert (submit.kind, submit.keep_alive_s, submit.load.num_ctx) == (JobKind.LOAD, 600, 8192)
    assert (submit.model.name, submit.model.n_layers, submit.model.details.family) == ("smollm2:latest", 30, "llama")


async def test_generate_without_a_prompt_and_keep_alive_zero_unloads(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """Keep-alive 0 with nothing to do unloads."""
    response = await gateway.post(GENERATE, {"model": "smollm2", "keep_alive": 0})
    assert response.json()["done_reason"] == "unload"
    assert len(backend.unloaded.items) == 1
    assert backend.submitted.items == []


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 404, "model '' not found"),
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"model": "../x"}, 400, "invalid model name"),
        ({"model": "minilm", "prompt": "x"}, 400, '"minilm" does not support generate'),
        ({"model": "smollm2", "prompt": "x", "think": True}, 400, '"smollm2" does not support thinking'),
        (
            {"model": "smollm2", "prompt": "x", "suffix": "y"},
            400,
            "registry.ollama.ai/library/smollm2:latest does not support insert",
        ),
        (
            {"model": "smollm2", "prompt": "x", "raw": True, "system": "s"},
            400,
            "raw mode does not support template, system, or context",
        ),
        ({"model": "smollm2", "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        (
            {"model": "smollm2", "prompt": "x", "options": {"temperature": "hot"}},
            400,
            'option "temperature" must be of type float32',
        ),
        ({"model": "smollm2", "prompt": "x", "images": ["!!"]}, 400, "illegal base64 data at input byte 0"),
    ],
)
async def test_generate_refuses_with_the_known_text(
    gateway: RunningGateway, body: dict[str, Any], status: int, text: str
) -> None:
    """What is wrong with a request is told in the words that clients know."""
    response = await gateway.post(GENERATE, body)
    assert (response.status_code, response.json()) == (status, {"error": text})


@pytest.mark.parametrize(
    ("wanted", "grammar"),
    [
        ("json", Grammar(kind=GrammarKind.JSON_SCHEMA, text='{"type":"object"}')),
        ({"type": "integer"}, Grammar(kind=GrammarKind.JSON_SCHEMA, text='{"type": "integer"}')),
        ({"type": "regex", "pattern": "a+"}, Grammar(kind=GrammarKind.REGEX, text="a+")),
        ({"type": "gbnf", "grammar": "root ::= [a]"}, Grammar(kind=GrammarKind.GBNF, text="root ::= [a]")),
        ({"type": "lark", "grammar": "start: /a/"}, Grammar(kind=GrammarKind.LARK, text="start: /a/")),
    ],
)
async def test_generate_passes_a_format_on(
    gateway: RunningGateway, bodies: Log[JobBody], wanted: Any, grammar: Grammar
) -> None:
    """Every way to ask for a format reaches the runner; a model that thinks does so before."""
    for model, thinking in (("smollm2", None), ("tiny-tools", ("<think>", "</think>"))):
        request = {"model": model, "prompt": "x", "format": wanted, "shift": False}
        assert (await gateway.post(GENERATE, request)).status_code == 200
        body = bodies.items[-1]
        assert body.grammar is not None
        assert (body.grammar.kind, body.grammar.text.replace(" ", "")) == (grammar.kind, grammar.text.replace(" ", ""))
        assert (body.grammar.thinking, body.shift) == (thinking, False)


async def test_generate_format_without_its_text_is_told(gateway: RunningGateway) -> None:
    """A grammar that is not there is the caller's mistake."""
    response = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "x", "format": {"type": "regex"}})
    assert (response.status_code, response.json()) == (
        400,
        {"error": 'format of type "regex" needs its text as "grammar"'},
    )


async def test_generate_asks_for_logprobs_and_tells_them(gateway: RunningGateway, backend: StubBackend) -> None:
    """Log probabilities come with the line of their text, and all together in a whole answer."""

    async def plan(job: StubJob) -> None:
        assert job.body is not None
        assert job.body.top_logprobs == 1
        told = TokenLogprob(b"Hi", -0.25, ((b"Hi", -0.25),))
        await job.accept()
        await job.publish(msgspec.structs.replace(job.delta(1, "Hi"), logprobs=(told,)))
        await job.publish(job.finished(2))

    backend.plan = plan
    body = {"model": "smollm2", "prompt": "x", "logprobs": True, "top_logprobs": 1}
    entry = {"token": "Hi", "logprob": -0.25, "bytes": [72, 105]}
    whole = await gateway.post(GENERATE, body | {"stream": False})
    assert whole.json()["logprobs"] == [entry | {"top_logprobs": [entry]}]
    first = json.loads((await gateway.post(GENERATE, body)).text.splitlines()[0])
    assert first["logprobs"] == whole.json()["logprobs"]


async def test_generate_debug_shows_the_rendered_prompt(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """The prompt comes from the runner, which generates nothing; a raw one is known already."""
    rendered = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "x", "_debug_render_only": True})
    assert rendered.json()["_debug_info"] == {"rendered_template": "ok"}
    assert bodies.items[0].task is Task.RENDER
    shown = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "x", "raw": True, "_debug_render_only": True})
    assert shown.json()["_debug_info"] == {"rendered_template": "x"}
    assert (shown.json()["response"], shown.json()["done"]) == ("", False)


@pytest.mark.parametrize(
    "field", [{"format": ""}, {"format": None}, {"images": []}, {"logprobs": False}, {"suffix": ""}]
)
async def test_generate_takes_empty_values_for_none(gateway: RunningGateway, field: dict[str, Any]) -> None:
    """Empty values ask for nothing."""
    response = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "x", **field})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("failure", "status", "retry_after"),
    [
        (QueueFull(1).as_failure(), 503, "1"),
        (InsufficientMemory("m", needed_bytes=2, available_bytes=1).as_failure(), 503, None),
        (RunnerDied("signal 9").as_failure(), 500, None),
    ],
)
async def test_generate_when_refused_has_its_status(
    gateway: RunningGateway, backend: StubBackend, failure: Failure, status: int, retry_after: str | None
) -> None:
    """An error before the first text has a status and says whether a retry can help."""
    backend.refusal = failure
    response = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "x"})
    assert (response.status_code, response.headers.get("retry-after")) == (status, retry_after)
    assert response.json() == {"error": failure.message}


async def test_generate_that_fails_midway_ends_with_an_error_line(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """An error after the first text is the last line of the stream, and no line says `done`."""

    async def fail(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))
        await job.publish(job.failed(2, DecodeFailed("no space").as_failure()))

    backend.plan = fail
    response = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "x"})
    first, last = _lines(response.text)
    assert (first["response"], last) == ("a", {"error": "no space"})


async def test_generate_reports_the_length(gateway: RunningGateway, backend: StubBackend) -> None:
    """A cut answer says so."""

    async def cut(job: StubJob) -> None:
        await job.say("a", reason=DoneReason.LENGTH)

    backend.plan = cut
    response = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "x", "stream": False})
    assert response.json()["done_reason"] == "length"


async def test_generate_while_the_client_leaves_cancels_the_job(gateway: RunningGateway, backend: StubBackend) -> None:
    """A client that closes its connection frees the slot, in the middle of the stream."""

    async def go_on(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))
        await trio.sleep_forever()

    backend.plan = go_on
    stream = await gateway.send_raw("POST", GENERATE, b'{"model": "smollm2", "prompt": "x"}')
    while b'"response":"a"' not in await stream.receive_some():
        pass
    await stream.aclose()
    job_id = backend.submitted.items[0].job_id
    with trio.fail_after(60):
        assert await backend.runner.cancelled.wait_for(1) == job_id
        assert await backend.cancelled.wait_for(1) == job_id


async def test_generate_while_the_client_leaves_before_any_text_cancels_the_job(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """A client that leaves while its request waits frees its place in the queue."""

    async def stay_silent(_job: StubJob) -> None:
        await trio.sleep_forever()

    backend.plan = stay_silent
    stream = await gateway.send_raw("POST", GENERATE, b'{"model": "smollm2", "prompt": "x"}')
    await backend.submitted.wait_for(1)
    await stream.aclose()
    with trio.fail_after(60):
        assert await backend.cancelled.wait_for(1) == backend.submitted.items[0].job_id


async def test_generate_template_of_the_request_wins(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """The runner renders with it, whatever the model brings; a bad one is the caller's mistake."""
    template = "{{ .System }}|{{ .Prompt }}|"
    await gateway.post(GENERATE, {"model": "smollm2", "prompt": "Hi", "system": "S", "template": template})
    prompt = bodies.items[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.template == template
    refused = await gateway.post(GENERATE, {"model": "smollm2", "prompt": "Hi", "template": "{{ .X"})
    assert (refused.status_code, refused.json()) == (400, {"error": "template error: template: :1: unclosed action"})


@pytest.mark.parametrize("path", [GENERATE, "/v1/completions"])
async def test_generate_suffix_is_rendered_by_the_models_template(
    gateway: RunningGateway, bodies: Log[JobBody], store: Store, path: str
) -> None:
    """A model whose template knows a suffix fills the gap."""
    template = "<P>{{ .Prompt }}<S>{{ .Suffix }}<M>"
    list(create(store, CreateRequest(model="fill", source="smollm2", template=template)))
    response = await gateway.post(path, {"model": "fill", "prompt": "a", "suffix": "b", "stream": False})
    assert response.status_code == 200
    assert bodies.items[0].prompt == FillPrompt(template=template, prompt="a", suffix="b")


async def test_generate_suffix_with_a_template_of_the_request(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """A template that comes with the request may know a suffix where the model's does not."""
    body = {"model": "smollm2", "prompt": "a", "suffix": "b", "template": "{{ .Prompt }}^{{ .Suffix }}"}
    assert (await gateway.post(GENERATE, body)).status_code == 200
    assert isinstance(bodies.items[0].prompt, FillPrompt)
    refused = await gateway.post(GENERATE, {**body, "template": "{{ .Prompt }}"})
    assert refused.json()["error"].endswith("does not support insert")
