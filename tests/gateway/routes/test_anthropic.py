"""Anthropic's routes over a real server, with a scripted runner behind it."""

import json
from typing import Any

import msgspec
import pytest

from actors.errors import DecodeFailed
from actors.messages.job import ChatMessage, ChatPrompt, JobBody, Task, ToolCall, ToolFunction
from actors.messages.runner_to_gateway import DoneReason, Prefill
from tests.gateway.conftest import RunningGateway
from tests.support.stub_backend import Log, StubBackend, StubJob

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
HI = [{"role": "user", "content": "Hi"}]
BASE: dict[str, Any] = {"model": "smollm2", "max_tokens": 8, "messages": HI}


@pytest.fixture
def bodies(backend: StubBackend) -> Log[JobBody]:
    """What the runner got, of jobs that it answers with `ok`."""
    log = Log[JobBody]()

    async def answer(job: StubJob) -> None:
        assert job.body is not None
        log.add(job.body)
        await job.say("ok", reason=DoneReason.LENGTH)

    backend.plan = answer
    return log


def _events(text: str) -> list[tuple[str, Any]]:
    frames = [frame.split("\n") for frame in text.split("\n\n") if frame]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


async def test_message_whole(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """A whole answer is one message, named so that a client can report it."""
    response = await gateway.post(MESSAGES, BASE)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.headers["request-id"].startswith("req_")
    answer = response.json()
    assert answer.pop("id").startswith("msg_")
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "smollm2",
        "content": [{"type": "text", "text": "ok"}],
        "stop_reason": "max_tokens",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 2,
        },
    }
    assert bodies.items[0].num_predict == 8


async def test_message_stream_has_its_events_in_order(gateway: RunningGateway, backend: StubBackend) -> None:
    """Thinking and text are blocks that never overlap; the counts are right from the first event on."""

    async def think(job: StubJob) -> None:
        assert job.body is not None
        assert job.body.tells_prefill
        submit = job.submit
        await job.accept()
        told = Prefill(submit.job_id, submit.attempt, 7, 3, 9)
        await job.publish(told, job.delta(1, "<think>hm"), job.delta(2, "</think>y"), job.delta(3, "es"))
        end = msgspec.structs.replace(job.finished(4), prompt_tokens=9, cached_tokens=3, generated_tokens=6)
        await job.publish(end)

    backend.plan = think
    response = await gateway.post(MESSAGES, BASE | {"model": "tiny-tools", "stream": True})
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache"
    events = _events(response.text)
    assert all(name == payload["type"] for name, payload in events)
    start, *blocks, delta, stop = [payload for _, payload in events]
    assert start["message"]["content"] == []
    assert start["message"]["stop_reason"] is None
    assert (start["message"]["usage"]["input_tokens"], start["message"]["usage"]["cache_read_input_tokens"]) == (6, 3)
    assert [(each["type"], each["index"]) for each in blocks if "delta" not in each] == [
        ("content_block_start", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_stop", 1),
    ]
    assert "".join(each["delta"].get("thinking", "") for each in blocks if "delta" in each) == "hm"
    assert "".join(each["delta"].get("text", "") for each in blocks if "delta" in each) == "yes"
    assert delta["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert (delta["usage"]["input_tokens"], delta["usage"]["output_tokens"]) == (6, 6)
    assert stop == {"type": "message_stop"}


@pytest.mark.parametrize("stream", [True, False])
async def test_message_tells_the_stop_sequence_that_was_met(
    gateway: RunningGateway, backend: StubBackend, *, stream: bool
) -> None:
    """One of the request's is told by name; one of the model's own is an ordinary end."""
    words = ["<eos>", "END"]

    async def stop(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"), msgspec.structs.replace(job.finished(2), stop=words.pop()))

    backend.plan = stop
    for expected in (("stop_sequence", "END"), ("end_turn", None)):
        response = await gateway.post(MESSAGES, BASE | {"stop_sequences": ["END"], "stream": stream})
        told = _events(response.text)[-2][1]["delta"] if stream else response.json()
        assert (told["stop_reason"], told["stop_sequence"]) == expected


async def test_message_maps_options(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """Sampling is the model's own where the request says nothing."""
    await gateway.post(MESSAGES, BASE)
    await gateway.post(MESSAGES, BASE | {"temperature": 0, "top_k": 3, "top_p": 0.5, "stop_sequences": ["x"]})
    plain, told = bodies.items
    assert (plain.sampling.temperature, plain.sampling.top_p, plain.stop) == (0.8, 0.9, ())
    assert (told.sampling.temperature, told.sampling.top_k, told.sampling.top_p, told.stop) == (0, 3, 0.5, ("x",))


async def test_message_converts_its_conversation(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """Blocks become what templates know: system first, results before the rest of their turn."""
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "text", "text": "wait"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "so?"},
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "18"}]},
            ],
        },
    ]
    system = [
        {"type": "text", "text": "Be ", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "brief."},
    ]
    await gateway.post(MESSAGES, BASE | {"messages": messages, "system": system})
    prompt = bodies.items[0].prompt
    assert isinstance(prompt, ChatPrompt)
    call = ToolCall(id="t1", function=ToolFunction(name="f", arguments={"x": 1}))
    assert prompt.messages == (
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="ab"),
        ChatMessage(role="assistant", content="wait", thinking="hm", tool_calls=(call,)),
        ChatMessage(role="tool", content="18", tool_name="f", tool_call_id="t1"),
        ChatMessage(role="user", content="so?"),
    )


@pytest.mark.parametrize(
    ("field", "think"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, False),
        ({"output_config": {"effort": "xhigh"}}, "high"),
        ({"thinking": {"type": "adaptive"}}, True),
        ({}, True),
    ],
)
async def test_message_maps_thinking(
    gateway: RunningGateway, bodies: Log[JobBody], field: dict[str, Any], think: object
) -> None:
    """A model that thinks does so unless told otherwise; one that cannot is asked all the same, without harm."""
    await gateway.post(MESSAGES, BASE | field | {"model": "tiny-tools"})
    await gateway.post(MESSAGES, BASE | field)
    prompts = [body.prompt for body in bodies.items]
    assert [prompt.think for prompt in prompts if isinstance(prompt, ChatPrompt)] == [think, None]


@pytest.mark.parametrize(
    ("body", "status", "kind", "text"),
    [
        ({}, 400, "invalid_request_error", "model is required"),
        ({"model": "smollm2"}, 400, "invalid_request_error", "max_tokens is required and must be positive"),
        (BASE | {"messages": []}, 400, "invalid_request_error", "messages is required"),
        (BASE | {"model": "nope"}, 404, "not_found_error", "model 'nope' not found"),
        (BASE | {"model": "minilm"}, 400, "invalid_request_error", '"minilm" does not support chat'),
        (BASE | {"messages": [{"role": "user"}]}, 400, "invalid_request_error", "messages[0].content is required"),
        (BASE | {"messages": [{"content": "x"}]}, 400, "invalid_request_error", "messages[0].role is required"),
        (
            BASE | {"messages": [{"role": "user", "content": [{"type": "wat"}]}]},
            400,
            "invalid_request_error",
            'messages[0].content[0].type: content blocks of type "wat"',
        ),
        (
            BASE | {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "x"}]}]},
            400,
            "invalid_request_error",
            "messages[0].content[0].name is required",
        ),
        (
            BASE | {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
            400,
            "invalid_request_error",
            "invalid image source type: url. Only base64 images are supported.",
        ),
        (BASE | {"tools": [{"name": "f"}]}, 400, "invalid_request_error", "tools[0].input_schema is required"),
        (BASE | {"tools": [{"type": "web_search_20250305"}]}, 400, "invalid_request_error", "tools[0].type"),
        (BASE | {"output_config": {"effort": "wow"}}, 400, "invalid_request_error", "output_config.effort"),
        (BASE | {"max_tokens": "8"}, 400, "invalid_request_error", "MessagesRequest.max_tokens of type int"),
    ],
)
async def test_message_refuses_in_its_own_shape(
    gateway: RunningGateway, body: dict[str, Any], status: int, kind: str, text: str
) -> None:
    """Errors have the shape that Anthropic's clients read, and name the place."""
    response = await gateway.post(MESSAGES, body)
    answer = response.json()
    assert (response.status_code, answer["type"], answer["error"]["type"]) == (status, "error", kind)
    assert answer["error"]["message"].startswith(text) or text in answer["error"]["message"]
    assert answer["request_id"] == response.headers["request-id"]


async def test_message_that_fails_midway_ends_with_an_error_event(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """An error after the first text is an event, and nothing follows it."""

    async def fail(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))
        await job.publish(job.failed(2, DecodeFailed("no space").as_failure()))

    backend.plan = fail
    response = await gateway.post(MESSAGES, BASE | {"stream": True})
    name, payload = _events(response.text)[-1]
    assert (name, payload["error"]["type"], payload["error"]["message"]) == ("error", "api_error", "no space")


async def test_models_are_listed_for_clients_of_anthropic(gateway: RunningGateway) -> None:
    """The header that they send tells them from OpenAI's, whose paths these are, too; errors follow."""
    headers = {"anthropic-version": "2023-06-01"}
    listed = (await gateway.client.get("/v1/models", headers=headers)).json()
    assert (listed["has_more"], len(listed["data"])) == (False, 3)
    assert {entry["type"] for entry in listed["data"]} == {"model"}
    assert listed["first_id"] == listed["data"][0]["id"]
    one = (await gateway.client.get("/v1/models/smollm2", headers=headers)).json()
    assert (one["type"], one["id"], one["created_at"][-1]) == ("model", "smollm2", "Z")
    missing = await gateway.client.get("/v1/models/absent", headers=headers)
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
    assert missing.json()["type"] == "error"


async def test_count_tokens_asks_the_runner(gateway: RunningGateway, backend: StubBackend) -> None:
    """The count is that of the rendered prompt, and nothing is generated."""
    tasks: list[Task] = []

    async def count(job: StubJob) -> None:
        assert job.body is not None
        tasks.append(job.body.task)
        await job.say()

    backend.plan = count
    response = await gateway.post(COUNT, {"model": "smollm2", "messages": HI})
    assert (response.status_code, response.json()) == (200, {"input_tokens": 5})
    assert tasks == [Task.COUNT]
    missing = await gateway.post(COUNT, {"model": "smollm2"})
    assert (missing.status_code, missing.json()["error"]["message"]) == (400, "messages is required")


WEATHER = {
    "name": "get_weather",
    "description": "Look outside.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


@pytest.mark.parametrize("stream", [True, False])
async def test_message_tells_calls_as_blocks(gateway: RunningGateway, backend: StubBackend, *, stream: bool) -> None:
    """Text before a call is a block of its own; the input comes whole."""

    async def call(job: StubJob) -> None:
        await job.say("<think>hm</think>", "Let me see.", CALL)

    backend.plan = call
    body = BASE | {"model": "tiny-tools", "tools": [WEATHER], "stream": stream}
    response = await gateway.post(MESSAGES, body)
    if stream:
        payloads = [payload for _, payload in _events(response.text)]
        blocks = [each["content_block"] for each in payloads if each["type"] == "content_block_start"]
        pieces = [each["delta"] for each in payloads if each["type"] == "content_block_delta"]
        inputs = [json.loads(piece["partial_json"]) for piece in pieces if piece["type"] == "input_json_delta"]
        reason = payloads[-2]["delta"]["stop_reason"]
    else:
        blocks = response.json()["content"]
        inputs = [block["input"] for block in blocks if block["type"] == "tool_use"]
        reason = response.json()["stop_reason"]
    assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use"]
    assert blocks[-1]["name"] == "get_weather"
    assert blocks[-1]["id"]
    assert (inputs, reason) == ([{"city": "Paris"}], "tool_use")


@pytest.mark.parametrize(
    ("choice", "n_shown", "is_constrained"),
    [
        (None, 1, False),
        ({"type": "auto"}, 1, False),
        ({"type": "none"}, 0, False),
        ({"type": "any"}, 1, True),
        ({"type": "tool", "name": "get_weather"}, 1, True),
    ],
)
async def test_message_obeys_tool_choice(
    gateway: RunningGateway,
    bodies: Log[JobBody],
    choice: dict[str, str] | None,
    n_shown: int,
    *,
    is_constrained: bool,
) -> None:
    """`none` hides the tools, `any` and a named tool constrain the answer to calls."""
    await gateway.post(MESSAGES, BASE | {"model": "tiny-tools", "tools": [WEATHER], "tool_choice": choice})
    body = bodies.items[0]
    assert isinstance(body.prompt, ChatPrompt)
    assert (len(body.prompt.tools), body.grammar is not None) == (n_shown, is_constrained)


async def test_message_constrains_its_answer(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """A schema in `output_config` reaches the runner."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    config = {"format": {"type": "json_schema", "schema": schema}}
    assert (await gateway.post(MESSAGES, BASE | {"output_config": config})).status_code == 200
    assert bodies.items[0].grammar is not None


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ({"tool_choice": {"type": "any"}}, 'tool_choice.type "any" needs tools'),
        ({"tool_choice": {"type": "wat"}}, "tool_choice.type must be"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name is required"),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice names 'f'"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format.type must be"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema is required"),
    ],
)
async def test_message_refuses_what_cannot_be_chosen(gateway: RunningGateway, field: dict[str, Any], text: str) -> None:
    """By the field's name."""
    response = await gateway.post(MESSAGES, BASE | field)
    assert response.status_code == 400
    assert text in response.json()["error"]["message"]
