"""Ollama's Python client: generating and chatting, loading and unloading."""

import asyncio

import ollama
import pytest

from tests.support.server import DEADLINE_S, RunningServer, eventually

pytestmark = pytest.mark.processes

GREEDY = {"temperature": 0}
GREETING = "Hello! How can I help you today?"
HELLO = [{"role": "user", "content": "Hello"}]
LONG = "1 2 3 4"
"""Unframed, it sends the tiny model into a loop that never stops by itself."""


def test_generate_answers_whole(client: ollama.Client) -> None:
    """Text, thinking, reason, counts and durations are there."""
    reply = client.generate("tiny", "Hello", options=GREEDY)
    assert (reply.model, reply.response, reply.thinking) == ("tiny", GREETING, "A greeting.")
    assert (reply.done, reply.done_reason) == (True, "stop")
    assert reply.prompt_eval_count == 12
    assert reply.eval_count == 26
    assert reply.total_duration
    assert reply.load_duration
    assert reply.prompt_eval_duration
    assert reply.eval_duration
    assert reply.total_duration >= reply.eval_duration + reply.load_duration
    assert reply.created_at
    assert reply.context


def test_generate_streams_the_same_text(client: ollama.Client) -> None:
    """Only the last part says done, and only it has figures."""
    *parts, last = client.generate("tiny", "Hello", options=GREEDY, stream=True)
    assert "".join(part.response or "" for part in (*parts, last)) == GREETING
    assert "".join(part.thinking or "" for part in parts) == "A greeting."
    assert not any(part.done or part.eval_count for part in parts)
    assert (last.done, last.done_reason, last.eval_count) == (True, "stop", 26)


def test_stream_comes_in_pieces(client: ollama.Client) -> None:
    """A long answer is not held back until its end; pieces may hold several tokens when the reader lags."""
    options = {"temperature": 0, "num_predict": 500}
    assert len(list(client.generate("tiny", LONG, raw=True, options=options, stream=True))) > 10


def test_chat_answers_whole(client: ollama.Client) -> None:
    """A message of the assistant comes back, with the figures beside it."""
    reply = client.chat("tiny", HELLO, options=GREEDY)
    assert (reply.message.role, reply.message.content) == ("assistant", GREETING)
    assert reply.message.thinking == "A greeting."
    assert (reply.done, reply.done_reason, reply.eval_count) == (True, "stop", 26)
    assert reply.total_duration


def test_chat_streams_the_same_text(client: ollama.Client) -> None:
    """Each part is a message of the assistant; the last says done."""
    *parts, last = client.chat("tiny", HELLO, options=GREEDY, stream=True)
    assert {part.message.role for part in parts} == {"assistant"}
    assert "".join(part.message.content or "" for part in parts) == GREETING
    assert (last.done, last.done_reason) == (True, "stop")


def test_async_client_answers_and_streams(server: RunningServer) -> None:
    """The client for asyncio gets the same, also several answers at once."""

    async def use() -> tuple[list[str], list[str]]:
        async with ollama.AsyncClient(host=server.url, timeout=DEADLINE_S, trust_env=False) as client:
            whole = [client.chat("tiny", HELLO, options=GREEDY) for _ in range(4)]
            contents = [reply.message.content or "" for reply in await asyncio.gather(*whole)]
            stream = await client.generate("tiny", "Hello", options=GREEDY, stream=True)
            return contents, [part.response or "" async for part in stream]

    contents, pieces = asyncio.run(use())
    assert contents == [GREETING] * 4
    assert "".join(pieces) == GREETING


def test_same_seed_gives_the_same_text(client: ollama.Client) -> None:
    """At a temperature, a seed decides; another one gives another text."""
    texts = [
        client.generate("tiny", LONG, raw=True, options={"temperature": 2, "seed": seed, "num_predict": 30}).response
        for seed in (7, 7, 8)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_temperature_0_is_deterministic(client: ollama.Client) -> None:
    """Seeds do not matter then."""
    options = [{"temperature": 0, "seed": seed, "num_predict": 40} for seed in (1, 2)]
    first, second = (client.generate("tiny", LONG, raw=True, options=each).response for each in options)
    assert first == second


def test_num_predict_ends_an_answer(client: ollama.Client) -> None:
    """The reason is its length."""
    reply = client.generate("tiny", LONG, raw=True, options={"temperature": 0, "num_predict": 5})
    assert (reply.done_reason, reply.eval_count) == ("length", 5)


def test_stop_ends_an_answer_before_itself(client: ollama.Client) -> None:
    """The stop string and what follows are not shown, also when it spans tokens."""
    reply = client.generate("tiny", "Hello", options=GREEDY | {"stop": ["help you"]})
    assert (reply.response, reply.done_reason) == ("Hello! How can I ", "stop")


def test_num_ctx_shows_in_the_list_of_loaded_models(client: ollama.Client) -> None:
    """A context that does not fit the loaded one loads the model anew."""
    client.generate("tiny", "Hello", options={"num_ctx": 6144, "num_predict": 1})
    (loaded,) = client.ps().models
    assert loaded.context_length == 6144
    client.generate("tiny", keep_alive=0)


def test_system_text_reaches_the_model(client: ollama.Client) -> None:
    """A prompt with a system text is longer by it."""
    plain, instructed = (
        client.generate("tiny", "Hello", system=system, options={"num_predict": 1}).prompt_eval_count or 0
        for system in ("", "Speak like a pirate.")
    )
    assert instructed > plain


def test_raw_prompt_is_not_framed(client: ollama.Client) -> None:
    """It is as long as its own tokens, and no context is returned."""
    reply = client.generate("tiny", "Hello", raw=True, options={"num_predict": 1})
    assert reply.prompt_eval_count == 1
    assert not reply.context


def test_context_goes_on_with_a_conversation(client: ollama.Client) -> None:
    """What an answer returns stands before the next prompt, and its part of the prompt is not computed again."""
    first = client.generate("tiny", "Hello", options=GREEDY)
    assert first.context
    second = client.generate("tiny", "Hello", context=first.context, options=GREEDY)
    assert second.context
    assert second.context[: len(first.context)] == first.context
    assert second.prompt_eval_count
    assert second.prompt_eval_count > len(first.context)


def test_thinking_can_be_switched_off(client: ollama.Client) -> None:
    """The answer then has no thoughts."""
    assert client.chat("tiny", HELLO, think=False, options=GREEDY).message.thinking is None


async def test_empty_prompt_loads_and_keep_alive_0_unloads(client: ollama.Client) -> None:
    """Both are answered at once and without text; the list of what is loaded follows."""
    loaded = client.generate("tiny")
    assert (loaded.response, loaded.done_reason) == ("", "load")
    (entry,) = client.ps().models
    assert entry.name == "tiny:latest"
    assert entry.size
    assert entry.expires_at
    assert (entry.details.family if entry.details else "") == "llama"
    unloaded = client.generate("tiny", keep_alive=0)
    assert (unloaded.response, unloaded.done_reason) == ("", "unload")
    await eventually(lambda: None if client.ps().models else True)


def test_empty_chat_loads_and_unloads(client: ollama.Client) -> None:
    """The chat route does the same."""
    assert client.chat("tiny").done_reason == "load"
    assert client.chat("tiny", keep_alive=0).done_reason == "unload"


def test_keep_alive_sets_when_a_model_expires(client: ollama.Client) -> None:
    """A later request without one keeps what was set."""
    client.generate("tiny", keep_alive="24h")
    first = client.ps().models[0].expires_at
    client.generate("tiny", "Hello", options={"num_predict": 1})
    second = client.ps().models[0].expires_at
    client.generate("tiny", keep_alive="1m")
    third = client.ps().models[0].expires_at
    assert first
    assert second
    assert third
    assert third < first <= second


def test_real_model_is_asked_in_its_own_template(client: ollama.Client, smollm2: str) -> None:
    """The prompt is as long as llama.cpp makes it, the template's own system text included."""
    question = [{"role": "user", "content": "What is the capital of France?"}]
    reply = client.chat(smollm2, question, options=GREEDY | {"num_predict": 24})
    assert reply.prompt_eval_count == 37
    assert reply.message.content


def test_unknown_model_is_a_404(client: ollama.Client) -> None:
    """The client raises its own error with the status and the text that users know."""
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate("absent", "Hello")
    assert caught.value.status_code == 404
    assert caught.value.error == "model 'absent' not found"
    with pytest.raises(ollama.ResponseError) as caught:
        list(client.chat("absent", HELLO, stream=True))
    assert caught.value.status_code == 404


def test_bad_values_are_a_400(client: ollama.Client) -> None:
    """What a raw prompt excludes, a duration without its unit, and thinking of no known degree."""
    for call in (
        lambda: client.generate("tiny", "Hello", raw=True, system="You are"),
        lambda: client.generate("tiny", "Hello", keep_alive="5"),
        lambda: client.chat("tiny", HELLO, think="hardly"),
    ):
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == 400
