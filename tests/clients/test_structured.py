"""Structured answers through the clients' own helpers, and forced calls through Anthropic's."""

import asyncio
from enum import StrEnum
from typing import Any

import anthropic
import ollama
import openai
import pydantic
import pytest

from tests.support.server import DEADLINE_S, RunningServer

pytestmark = pytest.mark.processes

GREEDY = {"temperature": 0}
HELLO: Any = [{"role": "user", "content": "Hello"}]


class Mood(StrEnum):
    """How a greeting sounds."""

    GOOD = "good"
    BAD = "bad"


class Greeting(pydantic.BaseModel):
    """What the answers are to be."""

    mood: Mood
    loud: bool


def test_ollama_format_of_a_model_class(client: ollama.Client) -> None:
    """The schema holds in chats, whole and streamed, and in completions."""
    schema = Greeting.model_json_schema()
    whole = client.chat("tiny", HELLO, format=schema, options={"temperature": 0}).message.content
    assert Greeting.model_validate_json(whole or "")
    parts = client.chat("tiny", HELLO, format=schema, options={"temperature": 0}, stream=True)
    assert "".join(part.message.content or "" for part in parts) == whole
    assert Greeting.model_validate_json(client.generate("tiny", "Hello", format=schema, options=GREEDY).response or "")


def test_openai_parse_helpers_give_objects(v1: openai.OpenAI) -> None:
    """Chat completions, their streams and Responses come back as the class that was asked for."""
    parsed = v1.chat.completions.parse(model="tiny", messages=HELLO, response_format=Greeting, temperature=0)
    greeting = parsed.choices[0].message.parsed
    assert isinstance(greeting, Greeting)
    with v1.chat.completions.stream(model="tiny", messages=HELLO, response_format=Greeting, temperature=0) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == greeting
    responded = v1.responses.parse(model="tiny", input="Hello", text_format=Greeting, temperature=0)
    assert responded.output_parsed == greeting


def test_openai_parse_of_a_tool_s_arguments(server: RunningServer) -> None:
    """A forced call's arguments come back as the class that the tool was made of, with the async client."""

    async def use() -> Any:
        async with (
            openai.DefaultAsyncHttpxClient(trust_env=False) as transport,
            openai.AsyncOpenAI(
                base_url=f"{server.url}/v1", api_key="x", timeout=DEADLINE_S, http_client=transport
            ) as client,
        ):
            tool = openai.pydantic_function_tool(Greeting)
            reply = await client.chat.completions.parse(
                model="tiny",
                messages=HELLO,
                tools=[tool],
                tool_choice={"type": "function", "function": {"name": "Greeting"}},
                temperature=0,
            )
            return reply.choices[0].message.tool_calls

    (call,) = asyncio.run(use())
    assert isinstance(call.function.parsed_arguments, Greeting)


def test_anthropic_structured_and_forced(server: RunningServer) -> None:
    """The client's own parser gives the class; a tool that is chosen is called once, whatever the model would say."""
    with (
        anthropic.DefaultHttpxClient(trust_env=False) as transport,
        anthropic.Anthropic(base_url=server.url, api_key="x", timeout=DEADLINE_S, http_client=transport) as claude,
    ):
        parsed = claude.messages.parse(
            model="tiny", max_tokens=200, messages=HELLO, output_format=Greeting, extra_body=GREEDY
        )
        assert isinstance(parsed.parsed_output, Greeting)
        tool: Any = {"name": "greet", "input_schema": Greeting.model_json_schema()}
        choices: Any = [{"type": "tool", "name": "greet"}, {"type": "any", "disable_parallel_tool_use": True}]
        for choice in choices:
            message = claude.messages.create(
                model="tiny",
                max_tokens=200,
                messages=HELLO,
                tools=[tool],
                tool_choice=choice,
                thinking={"type": "disabled"},
                extra_body=GREEDY,
            )
            calls = [block for block in message.content if block.type == "tool_use"]
            assert len(calls) == 1, message
            call = calls[0]
            assert (message.stop_reason, call.name) == ("tool_use", "greet")
            assert Greeting.model_validate(call.input)
