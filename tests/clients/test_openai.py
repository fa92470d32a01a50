"""OpenAI's Python client: chats, completions and models."""

import asyncio
from pathlib import Path

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from tests.support.server import DEADLINE_S, RunningServer

pytestmark = pytest.mark.processes

GREETING = "Hello! How can I help you today?"
HELLO = [ChatCompletionUserMessageParam(role="user", content="Hello")]


def test_chat_answers_whole(v1: openai.OpenAI) -> None:
    """One choice with text, reason and usage."""
    reply = v1.chat.completions.create(model="tiny", messages=HELLO, temperature=0)
    (choice,) = reply.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", GREETING, "stop")
    assert (reply.object, reply.model) == ("chat.completion", "tiny")
    assert reply.usage
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (12, 26, 38)


def test_chat_streams_the_same_text(v1: openai.OpenAI) -> None:
    """The first delta has the role, the last chunks the reason and, if asked for, the usage."""
    chunks = list(
        v1.chat.completions.create(
            model="tiny", messages=HELLO, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    *parts, last, usage = chunks
    assert parts[0].choices[0].delta.role == "assistant"
    assert "".join(part.choices[0].delta.content or "" for part in parts) == GREETING
    assert last.choices[0].finish_reason == "stop"
    assert not usage.choices
    assert usage.usage
    assert usage.usage.completion_tokens == 26
    assert len({chunk.id for chunk in chunks}) == 1


def test_async_client_answers_and_streams(server: RunningServer) -> None:
    """The client for asyncio gets the same, several answers at once."""

    async def use() -> tuple[list[str], str]:
        async with (
            openai.DefaultAsyncHttpxClient(trust_env=False) as transport,
            openai.AsyncOpenAI(
                base_url=f"{server.url}/v1", api_key="any", timeout=DEADLINE_S, max_retries=0, http_client=transport
            ) as client,
        ):
            calls = [client.chat.completions.create(model="tiny", messages=HELLO, temperature=0) for _ in range(4)]
            whole = [reply.choices[0].message.content or "" for reply in await asyncio.gather(*calls)]
            stream = await client.chat.completions.create(model="tiny", messages=HELLO, temperature=0, stream=True)
            return whole, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    whole, streamed = asyncio.run(use())
    assert whole == [GREETING] * 4
    assert streamed == GREETING


def test_max_tokens_and_stop_end_an_answer(v1: openai.OpenAI) -> None:
    """The reasons tell which."""
    short = v1.chat.completions.create(model="tiny", messages=HELLO, temperature=0, max_tokens=3).choices[0]
    stopped = v1.chat.completions.create(model="tiny", messages=HELLO, temperature=0, stop="help you").choices[0]
    assert short.finish_reason == "length"
    assert (stopped.finish_reason, stopped.message.content) == ("stop", "Hello! How can I ")


def test_seed_makes_an_answer_repeatable(v1: openai.OpenAI) -> None:
    """Two calls with one seed agree."""
    first, second = (
        v1.chat.completions.create(model="tiny", messages=HELLO, temperature=1.5, seed=5, max_tokens=30)
        for _ in range(2)
    )
    assert first.choices[0].message.content == second.choices[0].message.content


def test_completion_answers_and_streams(v1: openai.OpenAI) -> None:
    """The older route gives text."""
    whole = v1.completions.create(model="tiny", prompt="Hello", temperature=0)
    pieces = v1.completions.create(model="tiny", prompt="Hello", temperature=0, stream=True)
    assert (whole.object, whole.choices[0].text, whole.choices[0].finish_reason) == (
        "text_completion",
        GREETING,
        "stop",
    )
    assert whole.usage
    assert whole.usage.completion_tokens == 26
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == GREETING


def test_models_are_listed_and_retrieved(v1: openai.OpenAI) -> None:
    """Each with its name, its time and its owner."""
    (listed,) = v1.models.list().data
    assert (listed.id, listed.object, listed.owned_by) == ("tiny:latest", "model", "library")
    assert listed.created > 0
    assert v1.models.retrieve("tiny").id == "tiny"


def test_unknown_model_is_not_found(v1: openai.OpenAI) -> None:
    """The client raises its own error for a 404, with OpenAI's fields."""
    for call in (
        lambda: v1.chat.completions.create(model="absent", messages=HELLO),
        lambda: v1.completions.create(model="absent", prompt="Hello"),
        lambda: v1.models.retrieve("absent"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert caught.value.type == "not_found_error"
        assert "model 'absent" in caught.value.message


def test_bad_values_are_a_bad_request(v1: openai.OpenAI) -> None:
    """No messages, or a message that is none."""
    with pytest.raises(openai.BadRequestError) as caught:
        v1.chat.completions.create(model="tiny", messages=[])
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError):
        v1.chat.completions.create(model="tiny", messages=HELLO, temperature="hot")  # type: ignore[call-overload]  # the point


def test_both_families_give_the_same_text(v1: openai.OpenAI, server: RunningServer, tiny_gguf: Path) -> None:
    """A greedy answer does not depend on the route."""
    del tiny_gguf
    native = httpx.post(
        f"{server.url}/api/chat",
        json={"model": "tiny", "messages": HELLO, "stream": False, "options": {"temperature": 0, "top_p": 1.0}},
        timeout=DEADLINE_S,
        trust_env=False,
    ).json()
    reply = v1.chat.completions.create(model="tiny", messages=HELLO, temperature=0)
    assert reply.choices[0].message.content == native["message"]["content"]
