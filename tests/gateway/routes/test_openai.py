"""The OpenAI routes over a real server, with a scripted runner behind it."""

import json
import math
import urllib.parse
from typing import Any

import pytest

from actors.errors import DecodeFailed
from actors.messages.job import ChatMessage, ChatPrompt, Grammar, GrammarKind, JobBody, ToolCall, ToolFunction
from actors.messages.runner_to_gateway import DoneReason
from gateway.parse.call_style import CallStyle
from gateway.wire.forced_calls import call_grammar
from tests.gateway.conftest import RunningGateway
from tests.support.stub_backend import Log, StubBackend, StubJob

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
HI = [{"role": "user", "content": "Hi"}]


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


def _events(text: str) -> list[Any]:
    events = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    return [event if event == "[DONE]" else json.loads(event) for event in events]


async def test_chat_completion_whole(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """A whole answer has one choice and the usage."""
    response = await gateway.post(CHAT, {"model": "smollm2", "messages": HI})
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert (answer["object"], answer["model"], answer["system_fingerprint"]) == (
        "chat.completion",
        "smollm2",
        "fp_ollama",
    )
    assert answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "length"}
    ]
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    assert (bodies.items[0].sampling.temperature, bodies.items[0].sampling.top_p) == (1.0, 1.0)


async def test_chat_completion_stream(gateway: RunningGateway, backend: StubBackend) -> None:
    """A stream names the role once, splits thinking off and ends with `[DONE]`."""

    async def think(job: StubJob) -> None:
        await job.say("<think>hm</think>", "yes")

    backend.plan = think
    request = {"model": "tiny-tools", "messages": HI, "stream": True, "stream_options": {"include_usage": True}}
    response = await gateway.post(CHAT, request)
    assert response.headers["content-type"] == "text/event-stream"
    *chunks, reason, usage, done = _events(response.text)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("reasoning", "") for delta in deltas) == "hm"
    assert "".join(delta["content"] for delta in deltas) == "yes"
    assert reason["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 8, "[DONE]")
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1


async def test_chat_completion_maps_sampling(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """OpenAI's names reach the runner as native options."""
    request = {
        "model": "smollm2",
        "messages": HI,
        "max_completion_tokens": 4,
        "temperature": 0,
        "seed": 3,
        "presence_penalty": 0.5,
        "stop": ["a", 5, "b"],
    }
    await gateway.post(CHAT, request)
    body = bodies.items[0]
    assert (body.num_predict, body.stop, body.sampling.temperature) == (4, ("a", "b"), 0)
    assert (body.sampling.seed, body.sampling.presence_penalty) == (3, 0.5)


async def test_chat_completion_converts_messages(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """Parts become messages, developers systems where the template knows none, arguments objects."""
    call = {"id": "c1", "function": {"name": "f", "arguments": '{"x":1}'}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "18"},
    ]
    await gateway.post(CHAT, {"model": "smollm2", "messages": messages})
    prompt = bodies.items[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages == (
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="a"),
        ChatMessage(role="user", content="b"),
        ChatMessage(
            role="assistant", tool_calls=(ToolCall(id="c1", function=ToolFunction(name="f", arguments={"x": 1})),)
        ),
        ChatMessage(role="tool", content="18", tool_name="f", tool_call_id="c1"),
    )


@pytest.mark.parametrize(("effort", "think"), [("none", False), ("minimal", "low"), ("xhigh", "max")])
async def test_chat_completion_maps_effort(
    gateway: RunningGateway, bodies: Log[JobBody], effort: str, think: object
) -> None:
    """Reasoning effort is a think level under another name."""
    await gateway.post(CHAT, {"model": "tiny-tools", "messages": HI, "reasoning_effort": effort})
    prompt = bodies.items[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.think == think


@pytest.mark.parametrize(
    ("body", "status", "kind", "text"),
    [
        ({"model": "smollm2"}, 400, "invalid_request_error", "[] is too short - 'messages'"),
        ({"model": "nope", "messages": HI}, 404, "not_found_error", "model 'nope' not found"),
        (
            {"model": "smollm2", "messages": [{"role": "user", "content": 5}]},
            400,
            "invalid_request_error",
            "invalid message content type: float64",
        ),
        (
            {"model": "smollm2", "messages": [{"role": "user", "content": [{"type": "wat"}]}]},
            400,
            "invalid_request_error",
            "invalid message format",
        ),
        (
            {"model": "smollm2", "messages": [{"role": "a", "tool_calls": [{"function": {"arguments": "["}}]}]},
            400,
            "invalid_request_error",
            "invalid tool call arguments",
        ),
    ],
)
async def test_chat_completion_refuses_in_its_own_shape(
    gateway: RunningGateway, body: dict[str, Any], status: int, kind: str, text: str
) -> None:
    """Errors have the shape that OpenAI's clients read."""
    response = await gateway.post(CHAT, body)
    error = {"error": {"message": text, "type": kind, "param": None, "code": None}}
    assert (response.status_code, response.json()) == (status, error)


TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("f", "g")
]


@pytest.mark.parametrize(
    ("choice", "n_tools", "forced"),
    [
        (None, 2, ("", 0)),
        ("auto", 2, ("", 0)),
        ("none", 0, ("", 0)),
        ("required", 2, ("fg", 16)),
        ({"type": "function", "function": {"name": "f"}}, 2, ("f", 1)),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}, 1, ("f", 16)),
    ],
)
async def test_chat_completion_forces_calls_by_grammar(
    gateway: RunningGateway, bodies: Log[JobBody], choice: object, n_tools: int, forced: tuple[str, int]
) -> None:
    """A tool choice hides tools, or makes the runner accept nothing but calls: of any of them, or one of one."""
    request = {"model": "tiny-tools", "messages": HI, "tools": TOOLS, "tool_choice": choice}
    assert (await gateway.post(CHAT, request)).status_code == 200
    assert (await gateway.post(CHAT, request | {"parallel_tool_calls": False})).status_code == 200
    hermes = CallStyle(opening="<tool_call>", closing="</tool_call>")
    tools = [tool for tool in TOOLS if tool["function"]["name"] in forced[0]]
    wanted = call_grammar(hermes, tools, most_calls=forced[1]).text if tools else None
    alone = call_grammar(hermes, tools, most_calls=1).text if tools else None
    assert [each.grammar and each.grammar.text for each in bodies.items] == [wanted, alone]
    body = bodies.items[0]
    assert isinstance(body.prompt, ChatPrompt)
    assert len(body.prompt.tools) == n_tools
    assert body.grammar is None or body.grammar.thinking == ("<think>", "</think>")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"tool_choice": "sometimes"}, "tool_choice must be"),
        ({"tool_choice": {"type": "function", "function": {"name": "h"}}}, "tool_choice names 'h'"),
        ({"tool_choice": "required", "tools": []}, "there are no tools"),
        ({"n": 0}, "n must be between 1 and 16"),
        ({"logit_bias": {"x": 1}}, "no token id"),
        ({"logit_bias": {"1": 101}}, "must be between -100 and 100"),
        ({"keep_alive": []}, "Unsupported type"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}}, "JSON Schema object"),
    ],
)
async def test_chat_completion_refuses_bad_values(gateway: RunningGateway, fields: dict[str, Any], text: str) -> None:
    """Fields with values that mean nothing are refused by name."""
    response = await gateway.post(CHAT, {"model": "tiny-tools", "messages": HI, "tools": TOOLS, **fields})
    assert response.status_code == 400
    assert text in response.json()["error"]["message"]


async def test_chat_completion_forced_call_is_in_the_family_s_markup(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """The runner is told to write it as the model's template does, behind whatever the model thinks."""
    grammars: list[Grammar | None] = []

    async def plan(job: StubJob) -> None:
        assert job.body is not None
        grammars.append(job.body.grammar)
        await job.say("<think>hm</think>", '<tool_call>\n{"name": "f", ', '"arguments": {"a": 1}}\n</tool_call>')

    backend.plan = plan
    request = {"model": "tiny-tools", "messages": HI, "tools": TOOLS, "tool_choice": "required"}
    choice = (await gateway.post(CHAT, request)).json()["choices"][0]
    (grammar,) = grammars
    assert grammar is not None
    assert (grammar.kind, grammar.thinking) == (GrammarKind.FORM, ("<think>", "</think>"))
    assert grammar.text.startswith(
        '{"type":"row","parts":[{"type":"row","parts":[{"type":"words","text":"<tool_call>"}'
    )
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}


async def test_chat_completion_streams_arguments_and_leaves_out_parallel_calls(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """Arguments come in pieces; with `parallel_tool_calls` off only the first call is told."""
    call = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'

    async def plan(job: StubJob) -> None:
        await job.say(call[:40], call[40:], call)

    backend.plan = plan
    request = {"model": "tiny-tools", "messages": HI, "tools": TOOLS, "stream": True}
    for parallel, indexes in ((True, {0, 1}), (False, {0})):
        text = (await gateway.post(CHAT, request | {"parallel_tool_calls": parallel})).text
        choices = [event["choices"][0] for event in _events(text)[:-1]]
        deltas = [delta for choice in choices for delta in choice["delta"].get("tool_calls", ())]
        assert {delta["index"] for delta in deltas} == indexes
        assert "".join(d["function"]["arguments"] for d in deltas if d["index"] == 0) == '{"a":1}'
        assert choices[-1]["finish_reason"] == "tool_calls"


async def test_chat_completion_of_several_choices(gateway: RunningGateway, backend: StubBackend) -> None:
    """Every choice is a job with a seed of its own; the stream tells which it is of."""
    request = {"model": "smollm2", "messages": HI, "n": 3, "seed": 7}
    whole = (await gateway.post(CHAT, request)).json()
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert whole["usage"] == {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
    text = (await gateway.post(CHAT, request | {"stream": True, "stream_options": {"include_usage": True}})).text
    *events, done = _events(text)
    said = [
        "".join(c["delta"].get("content", "") for e in events for c in e["choices"] if c["index"] == i)
        for i in range(3)
    ]
    assert said == ["Hello world"] * 3
    assert (events[-1]["usage"]["completion_tokens"], done) == (9, "[DONE]")
    assert len(backend.submitted.items) == 6


async def test_chat_completion_takes_extensions(
    gateway: RunningGateway, bodies: Log[JobBody], backend: StubBackend
) -> None:
    """Native options and keep-alive may be given; a field of the route's own wins. Biases are numbers per token."""
    request = {
        "model": "smollm2",
        "messages": HI,
        "options": {"top_k": 3, "temperature": 0.1, "num_ctx": 64},
        "top_p": 0.5,
        "keep_alive": "1m",
        "logit_bias": {"5": -100, "6": 1.5},
        "max_completion_tokens": 9,
        "response_format": {"type": "json_object"},
    }
    assert (await gateway.post(CHAT, request)).status_code == 200
    body, submit = bodies.items[0], backend.submitted.items[0]
    assert (body.sampling.top_k, body.sampling.temperature, body.sampling.top_p) == (3, 0.1, 0.5)
    assert body.sampling.logit_bias == ((5, -math.inf), (6, 1.5))
    assert (body.num_predict, submit.keep_alive_s, submit.load.num_ctx) == (9, 60.0, 64)
    assert body.grammar is not None


async def test_chat_completion_that_fails_midway_ends_with_an_error_event(
    gateway: RunningGateway, backend: StubBackend
) -> None:
    """An error after the first text reaches the client as an event, without `[DONE]`."""

    async def fail(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "a"))
        await job.publish(job.failed(2, DecodeFailed("no space").as_failure()))

    backend.plan = fail
    response = await gateway.post(CHAT, {"model": "smollm2", "messages": HI, "stream": True})
    first, last = _events(response.text)
    assert first["choices"][0]["delta"]["content"] == "a"
    assert last["error"]["message"] == "no space"


async def test_completion_renders_its_prompt_as_a_turn(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """The prompt goes through the template; top_p 0 means 1."""
    response = await gateway.post(COMPLETIONS, {"model": "smollm2", "prompt": "The sky", "top_p": 0, "stop": "x"})
    assert response.json()["choices"] == [{"text": "ok", "index": 0, "finish_reason": "length"}]
    assert bodies.items[0].prompt == ChatPrompt(messages=(ChatMessage(role="user", content="The sky"),))
    assert (bodies.items[0].sampling.top_p, bodies.items[0].stop) == (1.0, ("x",))


async def test_completion_stream_drops_thinking(gateway: RunningGateway, backend: StubBackend) -> None:
    """There is no field for thinking here."""

    async def think(job: StubJob) -> None:
        await job.say("<think>hm</think>", "yes")

    backend.plan = think
    response = await gateway.post(COMPLETIONS, {"model": "tiny-tools", "prompt": "x", "stream": True})
    *chunks, done = _events(response.text)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "yes"
    assert done == "[DONE]"
    assert "usage" not in chunks[0]


@pytest.mark.parametrize("stream", [True, False])
async def test_completion_without_a_prompt_loads(gateway: RunningGateway, stream: bool) -> None:  # noqa: FBT001
    """Nothing to complete means load."""
    response = await gateway.post(COMPLETIONS, {"model": "smollm2", "stream": stream})
    answer = _events(response.text)[0] if stream else response.json()
    assert answer["choices"][0]["finish_reason"] == "load"


async def test_completion_refuses_a_bad_stop(gateway: RunningGateway) -> None:
    """Here every stop word must be a text."""
    response = await gateway.post(COMPLETIONS, {"model": "smollm2", "prompt": "x", "stop": [5]})
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("invalid type for 'stop' field")


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"type": "yaml"}, 'response_format of type "yaml" has no effect'),
        ({"type": "json_schema"}, "its json_schema has no schema"),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "its json_schema has no schema"),
    ],
)
async def test_chat_completion_tells_a_format_without_effect(
    gateway: RunningGateway, wanted: dict[str, Any], text: str
) -> None:
    """Clients send such formats, so they are answered; that they did nothing is said."""
    body = {"model": "smollm2", "messages": HI, "response_format": wanted}
    response = await gateway.post(CHAT, body)
    assert response.status_code == 200
    (warning,) = response.json()["choices"][0]["warnings"]
    assert text in warning
    for format_ in ({"type": "text"}, {"type": "json_object"}):
        assert "warnings" not in (await gateway.post(CHAT, body | {"response_format": format_})).json()["choices"][0]


async def test_models_are_listed(gateway: RunningGateway) -> None:
    """The list and a single model have the same entries, by the name that was asked for."""
    listed = (await gateway.client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert {model["id"] for model in listed["data"]} == {"smollm2:latest", "tiny-tools:latest", "minilm:latest"}
    one = (await gateway.client.get("/v1/models/SmolLM2")).json()
    assert (one["id"], one["object"], one["owned_by"]) == ("SmolLM2", "model", "library")
    for path in ("library/smollm2", "registry.ollama.ai%2Flibrary%2Fsmollm2%3Alatest"):
        by_path = (await gateway.client.get(f"/v1/models/{path}")).json()
        assert by_path == one | {"id": urllib.parse.unquote(path)}
    missing = await gateway.client.get("/v1/models/nope")
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, "model 'nope:latest' not found")
