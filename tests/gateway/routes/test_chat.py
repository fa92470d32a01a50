"""`/api/chat` over a real server, with a scripted runner behind it."""

import json
from typing import Any

import pytest

from actors.messages.job import ChatMessage, ChatPrompt, JobBody, ToolCall, ToolFunction
from registry.create import CreateRequest, create
from registry.store import Store
from tests.gateway.conftest import RunningGateway
from tests.gateway.stub_models import write_chat_gguf
from tests.support.stub_backend import Log, StubBackend, StubJob

CHAT = "/api/chat"
HI = [{"role": "user", "content": "Hi"}]


async def _prompt_of(gateway: RunningGateway, backend: StubBackend, request: dict[str, Any]) -> ChatPrompt:
    log = Log[JobBody]()

    async def answer(job: StubJob) -> None:
        assert job.body is not None
        log.add(job.body)
        await job.say("ok")

    backend.plan = answer
    response = await gateway.post(CHAT, request | {"stream": False})
    assert response.status_code == 200, response.text
    prompt = log.items[0].prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt


async def test_chat_streams_messages(gateway: RunningGateway) -> None:
    """Text comes line by line in messages, then a last line with an empty one."""
    response = await gateway.post(CHAT, {"model": "smollm2", "messages": HI})
    *deltas, last = [json.loads(line) for line in response.text.splitlines()]
    assert "".join(line["message"]["content"] for line in deltas) == "Hello world"
    assert last["message"] == {"role": "assistant", "content": ""}
    assert "context" not in last
    assert (last["done"], last["done_reason"]) == (True, "stop")


async def test_chat_passes_messages_on(gateway: RunningGateway, backend: StubBackend) -> None:
    """All of the history reaches the runner, null fields as empty ones."""
    messages = [
        {"role": "User", "content": None},
        {
            "role": "assistant",
            "thinking": "t",
            "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "18", "tool_name": "f", "tool_call_id": "1"},
    ]
    prompt = await _prompt_of(gateway, backend, {"model": "smollm2", "messages": messages})
    call = ToolCall(id="1", function=ToolFunction(name="f", arguments={"a": 1}))
    assert prompt.messages == (
        ChatMessage(role="user"),
        ChatMessage(role="assistant", thinking="t", tool_calls=(call,)),
        ChatMessage(role="tool", content="18", tool_name="f", tool_call_id="1"),
    )
    assert prompt.think is None


async def test_chat_puts_the_model_s_own_messages_first(
    gateway: RunningGateway, backend: StubBackend, store: Store
) -> None:
    """Stored system text and messages come before the request's, the system text only if it has none."""
    list(
        create(
            store,
            CreateRequest(
                model="pirate", source="smollm2", system="S", messages=[{"role": "user", "content": "stored"}]
            ),
        )
    )
    stored = ChatMessage(role="user", content="stored")
    prompt = await _prompt_of(gateway, backend, {"model": "pirate", "messages": HI})
    assert prompt.messages == (ChatMessage(role="system", content="S"), stored, ChatMessage(role="user", content="Hi"))
    own = [{"role": "system", "content": "mine"}, *HI]
    prompt = await _prompt_of(gateway, backend, {"model": "pirate", "messages": own})
    assert prompt.messages[:2] == (stored, ChatMessage(role="system", content="mine"))


@pytest.mark.parametrize(("think", "passed"), [(None, True), (True, True), (False, False), ("low", "low")])
async def test_chat_with_a_model_that_thinks_passes_think_on(
    gateway: RunningGateway, backend: StubBackend, think: object, passed: object
) -> None:
    """A model that can think does so unless told otherwise."""
    prompt = await _prompt_of(gateway, backend, {"model": "tiny-tools", "messages": HI, "think": think})
    assert prompt.think == passed


@pytest.mark.parametrize("messages", [[], None])
async def test_chat_without_messages_loads(gateway: RunningGateway, messages: object) -> None:
    """Nothing to answer means load."""
    response = await gateway.post(CHAT, {"model": "smollm2", "messages": messages})
    assert response.json()["done_reason"] == "load"
    assert response.json()["message"] == {"role": "assistant", "content": ""}


async def test_chat_without_messages_and_keep_alive_zero_unloads(gateway: RunningGateway) -> None:
    """Keep-alive 0 with nothing to answer means unload."""
    response = await gateway.post(CHAT, {"model": "smollm2", "messages": [], "keep_alive": "0"})
    assert response.json()["done_reason"] == "unload"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "model is required"),
        ({"model": "nope", "messages": HI}, 404, "model 'nope' not found"),
        ({"model": "minilm", "messages": HI}, 400, '"minilm" does not support chat'),
        (
            {"model": "smollm2", "messages": HI, "tools": [{"type": "function"}]},
            400,
            "registry.ollama.ai/library/smollm2:latest does not support tools",
        ),
        (
            {"model": "smollm2", "messages": HI, "think": "sideways"},
            400,
            'invalid think value: "sideways" (must be "high", "medium", "low", "max", true, or false)',
        ),
    ],
)
async def test_chat_refuses_with_the_known_text(
    gateway: RunningGateway, body: dict[str, Any], status: int, text: str
) -> None:
    """What is wrong with a request is told in the words that clients know."""
    response = await gateway.post(CHAT, body)
    assert (response.status_code, response.json()) == (status, {"error": text})


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ({"type": "magic"}, 'tools[0].type must be "function"'),
        ({"type": "function"}, "tools[0].function must be an object with the name of a function"),
        ({"function": {"name": 5}}, "tools[0].function.name must be the name of a function"),
        ({"function": {"name": "f", "parameters": []}}, "tools[0].function.parameters must be a JSON Schema object"),
        (
            {"function": {"name": "f", "parameters": {"properties": 1}}},
            "tools[0].function.parameters.properties must be an object",
        ),
    ],
)
async def test_chat_refuses_a_malformed_tool(gateway: RunningGateway, tool: dict[str, Any], text: str) -> None:
    """What is wrong with a tool is told by its place."""
    refused = await gateway.post(CHAT, {"model": "tiny-tools", "messages": HI, "tools": [tool]})
    assert (refused.status_code, refused.json()) == (400, {"error": text})


async def test_chat_tells_calls_as_soon_as_they_are_complete(gateway: RunningGateway, backend: StubBackend) -> None:
    """Thinking, text and calls come apart, however the runner cuts them; what is no call is marked text."""

    async def plan(job: StubJob) -> None:
        call = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
        await job.say(
            "<thi", "nk>hm</think>", "I look.\n", call[:20], call[20:], '<tool_call>{"name": "g"}</tool_call>'
        )

    backend.plan = plan
    request = {"model": "tiny-tools", "messages": HI, "tools": [{"type": "function", "function": {"name": "f"}}]}
    lines = [json.loads(line)["message"] for line in (await gateway.post(CHAT, request)).text.splitlines()]
    calls = [call for line in lines for call in line.get("tool_calls", ())]
    assert [call["function"] for call in calls] == [{"index": 0, "name": "f", "arguments": {"a": 1}}]
    assert calls[0]["id"].startswith("call_")
    marked = "".join(line["content"] for line in lines if line.get("unparsed"))
    assert marked.endswith('<tool_call>{"name": "g"}</tool_call>')
    whole = (await gateway.post(CHAT, request | {"stream": False})).json()["message"]
    assert (whole["thinking"], whole["content"]) == ("hm", 'I look.<tool_call>{"name": "g"}</tool_call>')
    assert (whole["tool_calls"][0]["function"], whole["unparsed"]) == (calls[0]["function"], True)


async def test_chat_passes_tools_and_the_tokens_to_show(gateway: RunningGateway, backend: StubBackend) -> None:
    """The template gets the tools as they are; the markers that the parser needs are asked for."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "title": "kept"}}}]
    prompt = await _prompt_of(gateway, backend, {"model": "tiny-tools", "messages": HI, "tools": tools})
    assert list(prompt.tools) == tools


async def test_chat_with_a_go_template_sends_it_along(
    gateway: RunningGateway, backend: StubBackend, store: Store
) -> None:
    """The runner renders with the template that the user wrote, whatever the file has."""
    template = "{{ .System }}: {{ .Prompt }}"
    list(create(store, CreateRequest(model="go", source="smollm2", template=template)))
    assert (await _prompt_of(gateway, backend, {"model": "go", "messages": HI})).template == template
    assert (await _prompt_of(gateway, backend, {"model": "smollm2", "messages": HI})).template is None


async def test_chat_with_a_renderer_that_is_not_here_says_so(gateway: RunningGateway, store: Store) -> None:
    """A model that names a renderer and brings no template answers raw prompts only, and says what to do."""
    write_chat_gguf(store.root / "bare.gguf", template="")
    digest = store.blobs.add_file(store.root / "bare.gguf")
    list(create(store, CreateRequest(model="odd", files={"m.gguf": digest}, renderer="gemma4")))
    response = await gateway.post(CHAT, {"model": "odd", "messages": HI})
    assert response.status_code == 400
    assert 'unknown renderer "gemma4": model odd:latest brings no template' in response.json()["error"]
    for fields in ({"raw": True}, {"template": "{{ .Prompt }}"}):
        body = {"model": "odd", "prompt": "x", "stream": False, **fields}
        assert (await gateway.post("/api/generate", body)).status_code == 200


async def test_chat_of_a_big_body_is_answered(gateway: RunningGateway, backend: StubBackend) -> None:
    """Bodies beyond the size that is handled in place take the same way."""
    long = "x" * 500_000
    prompt = await _prompt_of(gateway, backend, {"model": "smollm2", "messages": [{"role": "user", "content": long}]})
    assert prompt.messages[0].content == long
