"""Tools and thinking through the real clients, with the tiny model, which calls and thinks deterministically."""

import asyncio
import json
from typing import Any, cast

import ollama
import openai
import pytest

from tests.support.server import DEADLINE_S, RunningServer

pytestmark = pytest.mark.processes

GREEDY = {"temperature": 0, "num_predict": 200}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City name"}},
            "required": ["city"],
        },
    },
}
PARIS: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
TWO_CITIES: Any = [{"role": "user", "content": "What is the weather in Rome and Oslo?"}]


def _calls(message: Any) -> Any:
    return message.tool_calls


def test_ollama_chat_calls_a_tool_and_uses_its_result(client: ollama.Client) -> None:
    """A round trip: the call, its result in the history, the answer."""
    first = client.chat("tiny", PARIS, tools=[WEATHER], options=GREEDY).message
    assert (first.content, first.thinking) == ("", "I need the weather in Paris.")
    assert first.tool_calls
    assert [(c.function.name, c.function.arguments) for c in first.tool_calls] == [("get_weather", {"city": "Paris"})]
    result = {"role": "tool", "tool_name": "get_weather", "content": "18 degrees"}
    last = client.chat("tiny", [*PARIS, first, result], tools=[WEATHER], options=GREEDY).message
    assert (last.thinking, last.content) == ("The tool has answered.", "It is 18 degrees in Paris.")


def test_ollama_chat_streams_two_calls(client: ollama.Client) -> None:
    """Every call comes in a line, before the last one."""
    *parts, last = client.chat("tiny", TWO_CITIES, tools=[WEATHER], options=GREEDY, stream=True)
    calls = [call.function.arguments["city"] for part in parts for call in part.message.tool_calls or ()]
    assert calls == ["Rome", "Oslo"]
    assert "".join(part.message.content or "" for part in parts) == ""
    assert (last.done, last.done_reason) == (True, "stop")


def test_ollama_chat_takes_a_python_function(client: ollama.Client) -> None:
    """The client makes the tool's description of a function."""

    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: the first
            b: the second
        """
        return a + b

    reply = client.chat("tiny", [{"role": "user", "content": "What is 2 plus 3?"}], tools=[add], options=GREEDY)
    assert reply.message.tool_calls
    assert reply.message.tool_calls[0].function.name == "add"


@pytest.mark.parametrize("think", [False, True, "low"])
def test_ollama_chat_thinks_as_told(client: ollama.Client, think: bool | str) -> None:  # noqa: FBT001  # the client's own type
    """Off, on, or at a level."""
    joke = [{"role": "user", "content": "Tell me a joke."}]
    message = client.chat("tiny", joke, think=cast("Any", think), options=GREEDY).message
    assert message.content == "Why did the llama cross the road? To get to the other slide."
    assert message.thinking == ("Something light." if think else None)


def test_openai_chat_calls_a_tool_and_uses_its_result(v1: openai.OpenAI) -> None:
    """A round trip with arguments as JSON text, found again by the call's id."""
    first = v1.chat.completions.create(model="tiny", messages=PARIS, tools=[WEATHER], temperature=0).choices[0]
    (call,) = _calls(first.message)
    assert (first.finish_reason, call.type, call.function.name) == ("tool_calls", "function", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    history = [*PARIS, first.message, {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}]
    last = v1.chat.completions.create(model="tiny", messages=history, tools=[WEATHER], temperature=0).choices[0]
    assert (last.finish_reason, last.message.content) == ("stop", "It is 18 degrees in Paris.")


def test_openai_chat_stream_helper_puts_calls_together(v1: openai.OpenAI) -> None:
    """The client's own accumulator makes the same calls of the pieces, in their order."""
    with v1.chat.completions.stream(model="tiny", messages=TWO_CITIES, tools=[WEATHER], temperature=0) as stream:
        pieces = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
        message = stream.get_final_completion().choices[0].message
    assert len(pieces) >= len(message.tool_calls or ()) == 2  # tokens that come quickly share a piece
    assert [json.loads(call.function.arguments) for call in _calls(message)] == [
        {"city": "Rome"},
        {"city": "Oslo"},
    ]
    assert len({call.id for call in message.tool_calls or ()}) == 2


def test_openai_chat_without_parallel_calls_makes_one(v1: openai.OpenAI) -> None:
    """The second call is left out."""
    reply = v1.chat.completions.create(
        model="tiny", messages=TWO_CITIES, tools=[WEATHER], temperature=0, parallel_tool_calls=False
    )
    assert len(_calls(reply.choices[0].message)) == 1


def test_openai_chat_none_calls_nothing(v1: openai.OpenAI) -> None:
    """The model is not even told of the tools."""
    reply = v1.chat.completions.create(
        model="tiny", messages=PARIS, tools=[WEATHER], temperature=0, tool_choice="none", max_tokens=60
    )
    assert reply.choices[0].message.tool_calls is None


def test_openai_chat_gives_several_choices(v1: openai.OpenAI) -> None:
    """Greedy choices are all the same, each with its index."""
    hello: Any = [{"role": "user", "content": "Hello"}]
    reply = v1.chat.completions.create(model="tiny", messages=hello, temperature=0, n=3)
    assert [(c.index, c.message.content) for c in reply.choices] == [
        (index, "Hello! How can I help you today?") for index in range(3)
    ]


def test_openai_chat_tells_reasoning(v1: openai.OpenAI) -> None:
    """Thinking has a field of its own, which the client keeps."""
    joke: Any = [{"role": "user", "content": "Tell me a joke."}]
    reply = v1.chat.completions.create(model="tiny", messages=joke, temperature=0, reasoning_effort="low")
    assert (reply.choices[0].message.model_extra or {})["reasoning"] == "Something light."
    silent = v1.chat.completions.create(model="tiny", messages=joke, temperature=0, reasoning_effort="none")
    assert "reasoning" not in (silent.choices[0].message.model_extra or {})
    assert reply.usage
    assert reply.usage.completion_tokens_details
    assert silent.usage
    assert silent.usage.completion_tokens_details is None
    *_, last = v1.chat.completions.create(
        model="tiny", messages=joke, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    assert last.usage
    assert last.usage.completion_tokens_details
    thought = reply.usage.completion_tokens_details.reasoning_tokens or 0
    whole = v1.responses.create(model="tiny", input="Tell me a joke.", temperature=0).usage
    assert whole
    counts = {
        thought,
        last.usage.completion_tokens_details.reasoning_tokens or 0,
        whole.output_tokens_details.reasoning_tokens,
    }
    assert max(counts) - min(counts) <= 4  # what arrives at once is shared out by length
    assert 4 < thought < reply.usage.completion_tokens - silent.usage.completion_tokens + 4


def test_openai_bad_tools_are_a_bad_request(v1: openai.OpenAI) -> None:
    """The client raises its own error, whose text names the field."""
    with pytest.raises(openai.BadRequestError, match=r"tools\[0\]\.function"):
        v1.chat.completions.create(model="tiny", messages=PARIS, tools=cast("Any", [{"type": "function"}]))
    with pytest.raises(openai.BadRequestError, match="tool_choice"):
        v1.chat.completions.create(model="tiny", messages=PARIS, tools=[WEATHER], tool_choice=cast("Any", "maybe"))


def test_async_clients_call_tools(server: RunningServer) -> None:
    """Both async clients see the same calls, streamed and side by side."""

    async def use() -> tuple[list[Any], list[str]]:
        native = ollama.AsyncClient(host=server.url, timeout=DEADLINE_S, trust_env=False)
        parts = [part async for part in await native.chat("tiny", PARIS, tools=[WEATHER], options=GREEDY, stream=True)]
        calls = [call.function.arguments for part in parts for call in part.message.tool_calls or ()]
        async with (
            openai.DefaultAsyncHttpxClient(trust_env=False) as transport,
            openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", http_client=transport) as v1,
        ):
            replies = await asyncio.gather(
                *(
                    v1.chat.completions.create(model="tiny", messages=PARIS, tools=[WEATHER], temperature=0)
                    for _ in "ab"
                )
            )
        await native._client.aclose()  # it has no public way to close
        return calls, [_calls(reply.choices[0].message)[0].function.arguments for reply in replies]

    calls, arguments = asyncio.run(use())
    assert calls == [{"city": "Paris"}]
    assert arguments == ['{"city":"Paris"}'] * 2


def test_openai_responses_round_trip(v1: openai.OpenAI) -> None:
    """A call, its output in a second response that names the first, and the text of both kinds of answer."""
    tool: Any = {"type": "function", **WEATHER["function"]}
    first = v1.responses.create(model="tiny", input="What is the weather in Paris?", tools=[tool], temperature=0)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}
    second = v1.responses.create(
        model="tiny", input=[result], previous_response_id=first.id, tools=[tool], temperature=0
    )
    assert (second.output_text, second.status) == ("It is 18 degrees in Paris.", "completed")
    assert v1.responses.retrieve(first.id).id == first.id
    v1.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        v1.responses.retrieve(first.id)


def test_openai_responses_stream_helper_sees_every_event(v1: openai.OpenAI) -> None:
    """The client's own accumulator accepts the order of the events and ends with the same response."""
    with v1.responses.stream(model="tiny", input="Tell me a joke.", temperature=0) as stream:
        names = [event.type for event in stream]
        final = stream.get_final_response()
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-1] == "response.completed"
    assert final.output_text == "Why did the llama cross the road? To get to the other slide."
    assert [item.type for item in final.output] == ["reasoning", "message"]


def test_openai_responses_errors_are_typed(v1: openai.OpenAI) -> None:
    """The client raises its own errors."""
    with pytest.raises(openai.BadRequestError, match="not found"):
        v1.responses.create(model="tiny", input="x", previous_response_id="resp_1")
    with pytest.raises(openai.NotFoundError):
        v1.responses.create(model="absent", input="x")
    with pytest.raises(openai.BadRequestError, match="audio"):
        v1.audio.transcriptions.create(model="tiny", file=("a.wav", b"RIFF"))


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_openai_chat_forced_call_is_enforced_by_grammar(v1: openai.OpenAI, choice: Any) -> None:
    """A model that would rather greet has to call, with arguments that fit the tool's schema."""
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Oslo"]}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": schema}}
    hello: Any = [{"role": "user", "content": "Hello"}]
    reply = v1.chat.completions.create(
        model="tiny", messages=hello, tools=cast("Any", [tool]), tool_choice=choice, temperature=0, max_tokens=400
    ).choices[0]
    calls = _calls(reply.message)
    assert (reply.finish_reason, {call.function.name for call in calls}) == ("tool_calls", {"get_weather"})
    assert all(json.loads(call.function.arguments)["city"] in {"Paris", "Oslo"} for call in calls)
    assert choice == "required" or len(calls) == 1


MARKUPS = {
    "list": '[TOOL_CALLS] [{"name": ',
    "named": "[TOOL_CALLS]{{ .Function.Name }}[ARGS]",
    "coder": "<tool_call><function=",
    "pairs": "<tool_call>{{ .Function.Name }}<arg_key>",
    "braced": "<|tool_call>call:<tool_call|>",
    "python": "<|tool_call_start|>[",
    "harmony": "<|start|>assistant<|channel|>commentary<|message|>",
    "other": '<go>{"name": ',
}


@pytest.mark.parametrize("markup", sorted(MARKUPS))
def test_forced_call_in_each_family_s_markup(client: ollama.Client, v1: openai.OpenAI, markup: str) -> None:
    """A model is made to write calls as its template writes them, and they are read."""
    template = (
        "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ if .ToolCalls }}{{ range .ToolCalls }}"
        "%s{{ end }}{{ end }}{{ end }}{{ .Tools }}assistant:"
    )
    client.create(f"writes-{markup}", from_="tiny", template=template % MARKUPS[markup])
    properties = {
        "city": {"enum": ["Paris", "Oslo"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "exact": {"type": "boolean"},
    }
    schema = {"type": "object", "properties": properties, "required": ["city", "exact", "days"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": schema}}
    reply = v1.chat.completions.create(
        model=f"writes-{markup}",
        messages=[{"role": "user", "content": "Hello"}],
        tools=cast("Any", [tool]),
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        seed=1,
        max_tokens=400,
        reasoning_effort="none",
    ).choices[0]
    (call,) = _calls(reply.message)
    arguments = json.loads(call.function.arguments)
    assert (reply.finish_reason, call.function.name) == ("tool_calls", "get_weather")
    assert arguments["city"] in {"Paris", "Oslo"}
    assert (type(arguments["days"]), type(arguments["exact"])) == (int, bool)
    client.delete(f"writes-{markup}")
