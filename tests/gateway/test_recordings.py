"""Recorded answers of the reference server, replayed: status, headers, shape and order of fields, error texts.

The recordings are not part of the repository; without them there is nothing to compare with. Models stand in for the
recorded ones by what they can do, and a stub answers for them, so generated words are not compared.
"""

import itertools
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.messages.job import ChatPrompt
from actors.messages.runner_to_gateway import DoneReason, TokenLogprob
from actors.settings import Settings
from registry.store import Store
from tests.gateway.conftest import RunningGateway, running_gateway
from tests.support.stub_backend import StubBackend, StubJob, say_hello

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "ollama-wire.json"
N_RECORDED = 463
_INTERNET = "it asks a registry in the internet, which no test may do"
LEFT_OUT = {
    "trailing text /api/pull": _INTERNET,
    "unknown model /api/pull": _INTERNET,
    "trailing text /api/push": _INTERNET,
    "chat many turns cut": "its request was recorded cut short",
    "generate option num_predict 0": "the reference never ended: test_recorded_failures_are_answered",
    "openai max_completion_tokens": "the same",
}
"""Exchanges that are not compared, by name, with the reason; every other one is."""
HEADERS = (
    "content-type",
    "allow",
    "location",
    "access-control-allow-origin",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-max-age",
    "vary",
)
OURS = ("llamactor", "warnings", "stop_sequence", "cache_creation_input_tokens", "cache_read_input_tokens")
"""Fields that we add beside the recorded ones."""

_LATER = "refused by name until a later version offers it"
_SOONER = "a call is told as soon as it is complete, not in the last line"
_CALLER = "the caller's mistake is a 4xx, not a 500"
_STUB = "the stub does not do what a runner or the recorded model does"
WE_DIFFER = {
    "preflight ok": "a preflight is answered without asking the route for its methods",
    "preflight foreign": "the same",
    "unknown model /api/push": "the model is not found, by its name; a path of the server is not told",
    "push unreachable": "the same",
    "push unreachable whole": "the same",
    "push http without insecure": "the same",
    "push bad name": "the caller's mistake is a 4xx, not a 500",
    "ps loaded": _STUB,
    "generate bad template": _CALLER,
    "generate images unsupported": "our text names the remedy",
    "generate format bad schema": _STUB,
    "generate format xml": _CALLER,
    "generate format number": _CALLER,
    "generate option stop string": _CALLER,
    "generate option temperature string": _CALLER,
    "generate option top_k string": _CALLER,
    "generate option seed string": _CALLER,
    "generate option bool for number": _CALLER,
    "generate overflow truncate false": _STUB,
    "chat images unsupported": "the same",
    "chat tool call stream": _SOONER,
    "chat two tool calls": _SOONER,
    "chat tools no function": "the text names the field",
    "chat tools odd type": _CALLER,
    "chat arguments string": "the text of our decoder names the field",
    "chat truncate false": _STUB,
    "create missing blob": _CALLER,
    "create bad digest": _CALLER,
    "create missing adapter": "the digest and the remedy are told, not a path",
    "create quantize odd": _CALLER,
    "create quantize quantized": _CALLER,
    "create stream error": "the digest and the remedy are told, not a path",
    "openai image url": "our text names the remedy",
    "responses tools": "text beside a call is not lost",
    "responses tools stream": "the same",
    "responses tool output": "a tool's schema is shown as it was sent",
    "responses previous": "a response that is not there is told, not ignored",
    "responses conversation": "what would be forgotten is refused",
    "anthropic stream": "the first event has a null stop_reason, as Anthropic's own",
    "anthropic tools stream": "the same",
    "anthropic odd part": "a block of unknown type is refused by its place, not dropped",
    "anthropic content number": "the text of our decoder names the field",
    "anthropic image": "our text names the remedy",
    "anthropic thinking stream": "the same",
    "anthropic count_tokens": "ours alone",
    "embed chat model": "a model that generates embeds, too",
    "embed long refuse": _STUB,
}
"""Exchanges that we answer otherwise on purpose, by name, with the reason."""


@pytest.fixture
async def quiet_gateway(settings: Settings, store: Store) -> AsyncIterator[RunningGateway]:
    """A gateway whose bounds are those of a real one."""
    roomy = Settings(
        port=0, run_dir=settings.run_dir, scheduler_endpoint=settings.scheduler_endpoint, models=settings.models
    )
    async with running_gateway(roomy, store) as gateway:
        yield gateway


def _exchanges() -> list[dict[str, Any]]:
    if not RECORDINGS.is_file():
        pytest.skip("no recordings beside the repository")
    exchanges: list[dict[str, Any]] = json.loads(RECORDINGS.read_text())["exchanges"]
    assert len({each["name"] for each in exchanges}) == len(exchanges) == N_RECORDED
    return exchanges


def _shape(value: Any) -> Any:
    """Keep the types and the order of fields; of a list, its first item."""
    if isinstance(value, dict):
        return [(key, _shape(item)) for key, item in value.items() if key not in OURS]
    if isinstance(value, list):
        return [_shape(item) for item in value[:1]]
    return type(value).__name__


def _differences(recorded: dict[str, Any], response: Any) -> list[str]:
    found = []
    if response.status_code != recorded["status"]:
        found.append(f"status {recorded['status']} became {response.status_code}")
    for header in HEADERS:
        before, after = recorded["response_headers"].get(header), response.headers.get(header)
        if before != after:
            found.append(f"{header} {before!r} became {after!r}")
    return found + _body_differences(recorded, response)


def _body_differences(recorded: dict[str, Any], response: Any) -> list[str]:
    if "text" in recorded:
        return [] if recorded["text"] == response.text else [f"text {recorded['text']!r} became {response.text!r}"]
    if "events" in recorded:
        events, n_cut = _uncut(recorded["events"])
        before, after = _payloads("\n\n".join(events)), _payloads(response.text)
        return _stream_differences(before, after, is_cut=n_cut > 0)
    if "lines" in recorded:
        lines, n_cut = _uncut(recorded["lines"])
        return _stream_differences(lines, [json.loads(line) for line in response.text.splitlines()], is_cut=n_cut > 0)
    newline = response.text.endswith("\n") != recorded["ends_with_newline"]
    return ["the final newline differs"] * newline + _shape_differences(recorded["json"], response.json())


def _uncut(items: list[Any]) -> tuple[list[Any], int]:
    """Give a recorded stream without the note that it was cut, and whether there was one."""
    is_cut = isinstance(items[-1], str) and bool(re.fullmatch(r"\.\.\. \d+ in all", items[-1]))
    return (items[:-1], 1) if is_cut else (items, 0)


def _stream_differences(before: list[Any], after: list[Any], *, is_cut: bool) -> list[str]:
    """Compare what comes in which order; how often one thing comes in a row depends on the model's words."""
    if before and isinstance(before[-1], dict) and before[-1].get("error"):
        return _shape_differences(before[-1:], after[-1:])
    first, second = _kinds(before), _kinds(after)
    if is_cut:
        second = second[: len(first)]
    return [] if first == second else [f"stream {first} became {second}"]


def _kinds(items: list[Any]) -> list[str]:
    """Give the shapes in a row; the first words of an answer may be its only ones, so its role counts for nothing."""
    shapes = (str(_shape(item)).replace("('role', 'str'), ('content'", "('content'") for item in items)
    return [shape for shape, _ in itertools.groupby(shapes)]


def _payloads(events: str) -> list[Any]:
    return [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: {")]


def _shape_differences(before: Any, after: Any) -> list[str]:
    if isinstance(before, list) and isinstance(after, list) and before and after:
        return _shape_differences(before[0], after[0])
    if isinstance(before, dict) and before.get("error"):
        before, after = ({**each, "request_id": ""} if "request_id" in each else each for each in (before, after))
        return [] if before == after else [f"{before} became {after}"]
    if isinstance(before, dict) and "modelfile" in before:  # what a model is made of differs
        common = [key for key in before if key in after]
        return [] if [key for key in after if key in before] == common else [f"order {list(before)}, {list(after)}"]
    return [] if _shape(before) == _shape(after) else [f"shape {_shape(before)} became {_shape(after)}"]


async def _stand_in(job: StubJob) -> None:
    """Call a tool where the recorded model did, and tell log probabilities where they are wanted."""
    if job.body is None:  # vectors
        await say_hello(job)
        return
    prompt, n_top = job.body.prompt, job.body.top_logprobs
    await job.accept()
    if isinstance(prompt, ChatPrompt) and prompt.tools and prompt.messages[-1].role == "user":
        await job.publish(
            job.delta(1, 'I look. <tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>')
        )
    elif n_top is not None:
        told = TokenLogprob(b"Hello", -0.5, ((b"Hello", -0.5),) * n_top)
        await job.publish(msgspec.structs.replace(job.delta(1, "Hello"), logprobs=(told,)))
    else:
        await job.publish(job.delta(1, "Hello world"))
    await job.publish(job.finished(2))


async def test_recorded_answers_are_ours(quiet_gateway: RunningGateway, backend: StubBackend) -> None:
    """Every recorded exchange in scope is answered alike, but for those that are listed with the reason."""
    backend.plan = _stand_in
    found: dict[str, list[str]] = {}
    n_compared = 0
    for recorded in _exchanges():
        if recorded["name"] in LEFT_OUT:
            continue
        n_compared += 1
        content = json.dumps(recorded["body"]).encode() if "body" in recorded else recorded.get("raw", "").encode()
        response = await quiet_gateway.client.request(
            recorded["method"], recorded["path"], content=content, headers=recorded.get("headers")
        )
        differences = _differences(recorded, response)
        if differences:
            found[recorded["name"]] = differences
    unlisted = {name: differences for name, differences in found.items() if name not in WE_DIFFER}
    assert not unlisted, json.dumps(unlisted, indent=1)
    assert n_compared == N_RECORDED - len(LEFT_OUT)
    gone = WE_DIFFER.keys() - found.keys()
    assert not gone, "a listed difference is gone"


async def test_recorded_failures_are_answered(quiet_gateway: RunningGateway, backend: StubBackend) -> None:
    """What the reference never answered ends here: with as many tokens as were asked for, or none."""
    asked: list[int] = []

    async def answer(job: StubJob) -> None:
        assert job.body is not None
        asked.append(job.body.num_predict)
        await job.say(reason=DoneReason.LENGTH)

    backend.plan = answer
    failed = [each for each in _exchanges() if "failed" in each]
    assert {each["name"] for each in failed} <= LEFT_OUT.keys()
    for recorded in failed:
        response = await quiet_gateway.post(recorded["path"], recorded["body"])
        assert response.status_code == 200
    assert asked == [0, failed[1]["body"]["max_completion_tokens"]]
