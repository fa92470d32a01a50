"""`/v1/responses` over a real server, with a scripted runner behind it."""

import json
from typing import Any

import pytest

from actors.errors import DecodeFailed
from actors.messages.job import ChatMessage, ChatPrompt, JobBody, ToolCall, ToolFunction
from actors.messages.runner_to_gateway import DoneReason
from actors.settings import Settings
from registry.store import Store
from tests.gateway.conftest import RunningGateway, running_gateway
from tests.support.stub_backend import Log, StubBackend, StubJob

RESPONSES = "/v1/responses"
TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
CALL = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'


def _events(text: str) -> list[dict[str, Any]]:
    events = []
    for frame in text.split("\n\n")[:-1]:
        name, data = frame.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


@pytest.fixture
def bodies(backend: StubBackend) -> Log[JobBody]:
    """What the runner got, of jobs in which the model thinks, says something and calls a tool."""
    log = Log[JobBody]()

    async def answer(job: StubJob) -> None:
        assert job.body is not None
        log.add(job.body)
        await job.say("<think>hm</think>", "I look.", CALL)

    backend.plan = answer
    return log


def _messages(body: JobBody) -> tuple[ChatMessage, ...]:
    assert isinstance(body.prompt, ChatPrompt)
    return body.prompt.messages


async def test_response_whole_has_its_items_in_order(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """Thinking, text and calls are items; what the request set is shown again."""
    request = {
        "model": "tiny-tools",
        "input": "Hi",
        "instructions": "Be brief.",
        "tools": [TOOL],
        "reasoning": {"effort": "low"},
        "max_output_tokens": 9,
    }
    response = (await gateway.post(RESPONSES, request)).json()
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call"]
    thought, said, call = response["output"]
    assert (thought["summary"], thought["encrypted_content"]) == ([{"type": "summary_text", "text": "hm"}], "hm")
    assert said["content"][0]["text"] == "I look."
    assert (call["name"], call["arguments"], call["status"]) == ("f", '{"a":1}', "completed")
    assert call["call_id"].startswith("call_")
    assert (response["status"], response["instructions"], response["max_output_tokens"]) == (
        "completed",
        "Be brief.",
        9,
    )
    assert response["tools"] == [TOOL | {"strict": None}]
    assert response["usage"]["total_tokens"] == 9
    body = bodies.items[0]
    assert _messages(body) == (ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Hi"))
    assert (body.num_predict, body.sampling.temperature) == (9, 1.0)


async def test_response_stream_has_its_events_in_order(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """Every item is opened, told in pieces and closed before the next; the last event has the whole object."""
    request = {"model": "tiny-tools", "input": "Hi", "tools": [TOOL], "stream": True}
    response = await gateway.post(RESPONSES, request)
    assert response.headers["cache-control"] == "no-cache"
    events = _events(response.text)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    names = [event["type"].removeprefix("response.") for event in events]
    assert names[:2] == ["created", "in_progress"]
    assert list(dict.fromkeys(names[2:-1])) == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "function_call_arguments.delta",
        "function_call_arguments.done",
    ]
    added = [event for event in events if event["type"] == "response.output_item.added"]
    assert [event["output_index"] for event in added] == [0, 1, 2]
    completed = events[-1]["response"]
    assert (events[-1]["type"], completed["status"]) == ("response.completed", "completed")
    assert [item["id"] for item in completed["output"]] == [event["item"]["id"] for event in added]
    assert len(bodies.items) == 1


async def test_response_continues_a_stored_one(
    gateway: RunningGateway, bodies: Log[JobBody], settings: Settings, store: Store
) -> None:
    """The conversation goes on at any worker of the host, without the first instructions."""
    first = (
        await gateway.post(RESPONSES, {"model": "tiny-tools", "input": "Hi", "instructions": "x", "tools": [TOOL]})
    ).json()
    call = first["output"][-1]
    async with running_gateway(settings, store) as other:
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "18"}
        request = {"model": "tiny-tools", "input": [output], "previous_response_id": first["id"], "tools": [TOOL]}
        second = (await other.post(RESPONSES, request)).json()
        assert second["previous_response_id"] == first["id"]
        assert (await other.client.get(f"{RESPONSES}/{first['id']}")).json() == first
    made = ToolCall(id=call["call_id"], function=ToolFunction(name="f", arguments={"a": 1}))
    assert _messages(bodies.items[1]) == (
        ChatMessage(role="user", content="Hi"),
        ChatMessage(role="assistant", content="I look.", thinking="hm", tool_calls=(made,)),
        ChatMessage(role="tool", content="18", tool_name="f", tool_call_id=call["call_id"]),
    )


async def test_response_that_is_not_stored_or_deleted_is_not_found(
    gateway: RunningGateway, bodies: Log[JobBody]
) -> None:
    """`store: false` keeps nothing; a deleted one is gone; the text tells the remedy."""
    kept = (await gateway.post(RESPONSES, {"model": "tiny-tools", "input": "Hi"})).json()
    unkept = (await gateway.post(RESPONSES, {"model": "tiny-tools", "input": "Hi", "store": False})).json()
    assert (kept["store"], unkept["store"]) == (True, False)
    gone = await gateway.client.delete(f"{RESPONSES}/{kept['id']}")
    assert gone.json() == {"id": kept["id"], "object": "response", "deleted": True}
    for response_id in (kept["id"], unkept["id"], "resp_1", "../etc/passwd"):
        refused = await gateway.post(
            RESPONSES, {"model": "tiny-tools", "input": "x", "previous_response_id": response_id}
        )
        assert refused.status_code == 400
        assert "not found" in refused.json()["error"]["message"]
    assert (await gateway.client.get(f"{RESPONSES}/{kept['id']}")).status_code == 404
    assert (await gateway.client.delete(f"{RESPONSES}/{kept['id']}")).status_code == 404
    assert len(bodies.items) == 2


async def test_response_converts_input_items(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """Items of all kinds become messages: calls in a row are one, reasoning belongs to what follows it."""
    items = [
        {"role": "developer", "content": "Be brief."},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
        },
        {"type": "reasoning", "summary": [], "encrypted_content": "hm"},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"x": 1}'},
        {"type": "function_call", "call_id": "2", "name": "g", "arguments": "{}"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Wait."}]},
        {"type": "function_call_output", "call_id": "1", "output": "one"},
        {"type": "function_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "two"}]},
        {"type": "web_search_call", "id": "w"},
    ]
    assert (await gateway.post(RESPONSES, {"model": "tiny-tools", "input": items})).status_code == 200
    calls = (
        ToolCall(id="1", function=ToolFunction(name="f", arguments={"x": 1})),
        ToolCall(id="2", function=ToolFunction(name="g", arguments={})),
    )
    assert _messages(bodies.items[0]) == (
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="ab"),
        ChatMessage(role="assistant", content="Wait.", thinking="hm", tool_calls=calls),
        ChatMessage(role="tool", content="one", tool_name="f", tool_call_id="1"),
        ChatMessage(role="tool", content="two", tool_name="g", tool_call_id="2"),
    )


async def test_response_offers_functions_alone(gateway: RunningGateway, bodies: Log[JobBody]) -> None:
    """Functions of namespaces have full names; tools that nobody could run are not shown to the model."""
    tools = [{"type": "web_search"}, {"type": "namespace", "name": "n", "tools": [TOOL]}, TOOL]
    request = {"model": "tiny-tools", "input": "Hi", "tools": tools, "tool_choice": {"type": "function", "name": "n.f"}}
    assert (await gateway.post(RESPONSES, request)).status_code == 200
    body = bodies.items[0]
    assert isinstance(body.prompt, ChatPrompt)
    assert [tool["function"]["name"] for tool in body.prompt.tools] == ["n.f", "f"]
    assert body.grammar is not None
    assert '\\"n.f\\"' in body.grammar.text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"input": 5}, "input must be a string or array"),
        ({"input": ["x"]}, "input[0] must be an object"),
        ({"input": [{"type": "wat"}]}, 'input[0]: unknown input item type: "wat"'),
        ({"input": [{"role": "king", "content": "x"}]}, "input[0].role must be one of"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content must be"),
        ({"input": [{"role": "user", "content": [{"type": "wat"}]}]}, "input[0].content[0] must be"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "file inputs are not currently supported"),
        ({"input": [{"type": "function_call", "name": "f", "call_id": "1", "arguments": "["}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call"}]}, "input[0] needs a name and a call_id"),
        ({"input": [{"type": "function_call_output"}]}, "input[0].call_id"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"conversation": "c"}, "previous_response_id"),
        ({"text": {"format": {"type": "json_schema", "schema": 5}}}, "text.format.schema"),
        ({"reasoning": {"effort": "wat"}}, "invalid reasoning value"),
        ({"model": None}, "model is required"),
    ],
)
async def test_response_refuses_with_the_place(gateway: RunningGateway, fields: dict[str, Any], text: str) -> None:
    """What is wrong with a request is told by its place, in OpenAI's shape."""
    response = await gateway.post(RESPONSES, {"model": "tiny-tools", "input": "Hi", **fields})
    assert response.status_code == 400
    assert text in response.json()["error"]["message"]


async def test_response_cut_short_is_incomplete(gateway: RunningGateway, backend: StubBackend) -> None:
    """An answer that met its limit says so, whole and streamed."""

    async def plan(job: StubJob) -> None:
        await job.say("long", reason=DoneReason.LENGTH)

    backend.plan = plan
    whole = (await gateway.post(RESPONSES, {"model": "smollm2", "input": "Hi"})).json()
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    events = _events((await gateway.post(RESPONSES, {"model": "smollm2", "input": "Hi", "stream": True})).text)
    assert events[-1]["type"] == "response.incomplete"


async def test_response_that_fails_midway_ends_with_an_error(gateway: RunningGateway, backend: StubBackend) -> None:
    """The client is told by an `error` event and a `response.failed`, after which nothing follows."""

    async def plan(job: StubJob) -> None:
        await job.accept()
        await job.publish(job.delta(1, "Hel"))
        await job.publish(job.failed(2, DecodeFailed("no").as_failure()))

    backend.plan = plan
    events = _events((await gateway.post(RESPONSES, {"model": "smollm2", "input": "Hi", "stream": True})).text)
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["message"] == events[-2]["message"]


async def test_response_without_input_loads_the_model(gateway: RunningGateway) -> None:
    """An empty message comes back."""
    response = (await gateway.post(RESPONSES, {"model": "smollm2"})).json()
    assert response["output"][0]["content"][0]["text"] == ""
    assert response["usage"]["total_tokens"] == 0
