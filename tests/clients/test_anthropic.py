"""Anthropic's Python client: messages whole and streamed, counting, errors as it types them."""

import asyncio
from collections.abc import Iterator

import anthropic
import pytest
from anthropic.types import ToolParam, ToolResultBlockParam, UserMessageParam

from tests.support.server import DEADLINE_S, RunningServer

pytestmark = pytest.mark.processes

GREETING = "Hello! How can I help you today?"
GREEDY = {"temperature": 0}
"""The client has no parameter for it any more; the API still has."""
HELLO = [UserMessageParam(role="user", content="Hello")]


@pytest.fixture
def claude(server: RunningServer) -> Iterator[anthropic.Anthropic]:
    """The client for threads; it gives errors at once instead of asking again."""
    with (
        anthropic.DefaultHttpxClient(trust_env=False) as transport,
        anthropic.Anthropic(
            base_url=server.url, api_key="any", timeout=DEADLINE_S, max_retries=0, http_client=transport
        ) as client,
    ):
        yield client


def test_message_answers_whole(claude: anthropic.Anthropic) -> None:
    """Blocks, reason and usage; the tiny model thinks before it greets."""
    reply = claude.messages.create(model="tiny", max_tokens=100, messages=HELLO, extra_body=GREEDY)
    thought, said = reply.content
    assert thought.type == "thinking"
    assert thought.thinking
    assert said.type == "text"
    assert said.text == GREETING
    assert (reply.role, reply.stop_reason, reply.stop_sequence) == ("assistant", "end_turn", None)
    assert reply.usage.input_tokens + (reply.usage.cache_read_input_tokens or 0) == 12
    assert reply.usage.output_tokens == 26
    assert reply._request_id


def test_message_tells_what_the_cache_spared(claude: anthropic.Anthropic) -> None:
    """The second time the prompt is read from the cache, but for its last token."""
    for _ in range(2):
        reply = claude.messages.create(model="tiny", max_tokens=4, messages=HELLO, extra_body=GREEDY)
    assert (reply.usage.cache_read_input_tokens, reply.usage.input_tokens) == (11, 1)


def test_message_streams_the_same_text(claude: anthropic.Anthropic) -> None:
    """The client's accumulated message equals the whole one; the first event knows the prompt's size."""
    with claude.messages.stream(model="tiny", max_tokens=100, messages=HELLO, extra_body=GREEDY) as stream:
        events = list(stream)
        final = stream.get_final_message()
    start = events[0]
    assert start.type == "message_start"
    assert start.message.usage.input_tokens + (start.message.usage.cache_read_input_tokens or 0) == 12
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.content[-1].type == "text"
    assert final.content[-1].text == GREETING
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 26)


def test_async_client_answers_and_streams(server: RunningServer) -> None:
    """The client for asyncio gets the same."""

    async def use() -> tuple[str, str]:
        async with (
            anthropic.DefaultAsyncHttpxClient(trust_env=False) as transport,
            anthropic.AsyncAnthropic(
                base_url=server.url, api_key="any", timeout=DEADLINE_S, max_retries=0, http_client=transport
            ) as client,
        ):
            whole = await client.messages.create(model="tiny", max_tokens=100, messages=HELLO, extra_body=GREEDY)
            async with client.messages.stream(
                model="tiny", max_tokens=100, messages=HELLO, extra_body=GREEDY
            ) as stream:
                streamed = "".join([text async for text in stream.text_stream])
            said = whole.content[-1]
            assert said.type == "text"
            return said.text, streamed

    assert asyncio.run(use()) == (GREETING, GREETING)


def test_stop_sequence_is_told(claude: anthropic.Anthropic) -> None:
    """The answer ends before it, and its name is told."""
    reply = claude.messages.create(
        model="tiny", max_tokens=100, messages=HELLO, extra_body=GREEDY, stop_sequences=["never", "How"]
    )
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "How")
    assert reply.content[-1].type == "text"
    assert reply.content[-1].text.rstrip() == "Hello!"


def test_count_is_what_the_message_uses(claude: anthropic.Anthropic) -> None:
    """The system text counts, too."""
    counted = claude.messages.count_tokens(model="tiny", system="Be brief.", messages=HELLO)
    used = claude.messages.create(model="tiny", max_tokens=1, system="Be brief.", messages=HELLO).usage
    assert counted.input_tokens == used.input_tokens + (used.cache_read_input_tokens or 0)


def test_models_are_listed(claude: anthropic.Anthropic) -> None:
    """Typed as the client types them."""
    (listed,) = claude.models.list()
    assert (listed.id, listed.type) == ("tiny:latest", "model")
    assert listed.created_at.year > 2000
    assert claude.models.retrieve("tiny").display_name == "tiny"


def test_errors_are_typed(claude: anthropic.Anthropic) -> None:
    """The client raises its own class for each status, with the message that the server gave."""
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(model="absent", max_tokens=1, messages=HELLO)
    assert missing.value.body == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "model 'absent' not found"},
        "request_id": missing.value.request_id,
    }
    with pytest.raises(anthropic.BadRequestError, match="max_tokens is required"):
        claude.messages.create(model="tiny", max_tokens=0, messages=HELLO)


WEATHER = ToolParam(
    name="get_weather",
    description="Get the current weather for a city",
    input_schema={
        "type": "object",
        "properties": {"city": {"type": "string", "description": "City name"}},
        "required": ["city"],
    },
)
QUESTION = "What is the weather in Paris?"


def test_tool_is_called_and_its_result_is_read(claude: anthropic.Anthropic) -> None:
    """The call comes typed; the client's own message object goes back with the result."""
    asked = UserMessageParam(role="user", content=QUESTION)
    reply = claude.messages.create(model="tiny", max_tokens=200, messages=[asked], tools=[WEATHER], extra_body=GREEDY)
    call = reply.content[-1]
    assert call.type == "tool_use"
    assert (call.name, call.input, reply.stop_reason) == ("get_weather", {"city": "Paris"}, "tool_use")
    result = ToolResultBlockParam(type="tool_result", tool_use_id=call.id, content="18 degrees and sunny")
    after = claude.messages.create(
        model="tiny",
        max_tokens=200,
        messages=[asked, reply.to_param(), UserMessageParam(role="user", content=[result])],
        tools=[WEATHER],
        extra_body=GREEDY,
    )
    assert after.stop_reason == "end_turn"
    assert after.content[-1].type == "text"
    assert "18" in after.content[-1].text


def test_tool_call_streams(claude: anthropic.Anthropic) -> None:
    """The client puts the input together from its pieces."""
    with claude.messages.stream(
        model="tiny",
        max_tokens=200,
        messages=[UserMessageParam(role="user", content=QUESTION)],
        tools=[WEATHER],
        extra_body=GREEDY,
    ) as stream:
        final = stream.get_final_message()
    assert final.content[-1].type == "tool_use"
    assert (final.content[-1].input, final.stop_reason) == ({"city": "Paris"}, "tool_use")


def test_tool_choice_forces_a_call(claude: anthropic.Anthropic) -> None:
    """Also where the model would rather greet."""
    reply = claude.messages.create(
        model="tiny",
        max_tokens=200,
        messages=HELLO,
        tools=[WEATHER],
        tool_choice={"type": "any"},
        thinking={"type": "disabled"},
        extra_body=GREEDY,
    )
    assert reply.content[-1].type == "tool_use"
    assert reply.content[-1].name == "get_weather"
