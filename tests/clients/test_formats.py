"""Formats, options and full contexts through a whole server."""

from typing import Any

import httpx
import pytest

from tests.support.server import DEADLINE_S, RunningServer

pytestmark = pytest.mark.processes

HELLO = [{"role": "user", "content": "Hello"}]
GREEDY = {"temperature": 0, "num_predict": 60}
DEEP = '{"type":"object","properties":{"a":' * 2000 + "{}" + "}}" * 2000
REFUSED: tuple[tuple[Any, str], ...] = (
    ({"type": "array", "maxItems": 1_000_000}, "maxItems is over 10000"),
    ({"type": "array", "uniqueItems": True}, 'unsupported keyword: "uniqueItems"'),
    ({"type": "regex", "pattern": "("}, "unclosed group"),
    ({"type": "gbnf", "grammar": "root"}, "line 1: expected ::="),
)


def _post(server: RunningServer, path: str, body: dict[str, Any]) -> httpx.Response:
    url = f"http://127.0.0.1:{server.port}{path}"
    return httpx.post(url, json={"model": "tiny", "stream": False} | body, timeout=DEADLINE_S)


def test_formats_that_cannot_be_used_are_refused_and_the_runner_lives(server: RunningServer) -> None:
    """Each is a 400 that says what is wrong with it, and the next request is answered by the same runner."""
    for wanted, reason in REFUSED:
        reply = _post(server, "/api/generate", {"prompt": "x", "format": wanted})
        assert (reply.status_code, reason in reply.json()["error"]) == (400, True), reply.text
    deep = f'{{"model":"tiny","prompt":"x","format":{DEEP}}}'
    reply = httpx.post(f"http://127.0.0.1:{server.port}/api/generate", content=deep, timeout=DEADLINE_S)
    assert (reply.status_code, reply.json()["error"]) == (400, "exceeded max depth")
    assert _post(server, "/api/generate", {"prompt": "Hello", "options": GREEDY}).status_code == 200


def test_format_holds_behind_the_thinking(server: RunningServer) -> None:
    """The model thinks as it does without a format; what it says then matches."""
    body = {"messages": HELLO, "options": GREEDY, "format": {"type": "regex", "pattern": "[0-9]{4}"}}
    message = _post(server, "/api/chat", body).json()["message"]
    assert message["thinking"] == "A greeting."
    assert len(message["content"]) == 4
    assert message["content"].isdecimal()


def test_options_without_effect_are_told(server: RunningServer) -> None:
    """The last object names what was ignored; no token is an answer, too."""
    options = {"num_predict": 0, "temprature": 1, "numa": True}
    reply = _post(server, "/api/generate", {"prompt": "Hello", "options": options}).json()
    assert (reply["response"], reply["done_reason"]) == ("", "length")
    assert reply["warnings"] == [
        'option "temprature" is unknown and was ignored, did you mean "temperature"?',
        'option "numa" no longer has an effect',
    ]


def test_full_context_is_cut_refused_or_shifted_and_told(server: RunningServer) -> None:
    """A prompt that does not fit loses tokens or is refused; an answer that does not fit goes on, or ends."""
    small = {"temperature": 0, "num_ctx": 64, "num_predict": 100}
    long = {"prompt": "w " * 400, "raw": True, "options": small | {"num_predict": 3}}
    assert _post(server, "/api/generate", long).json()["truncated"]["tokens"] > 300
    refused = _post(server, "/api/generate", long | {"truncate": False})
    assert (refused.status_code, "401 tokens in a context of 64" in refused.json()["error"]) == (400, True)
    endless = {"prompt": "1 2 3 4", "raw": True, "options": small}
    shifted = _post(server, "/api/generate", endless).json()
    assert shifted["eval_count"] == 100
    assert shifted["warnings"][0].startswith("the context was full: ")
    ended = _post(server, "/api/generate", endless | {"shift": False}).json()
    assert (ended["done_reason"], ended["eval_count"] + ended["prompt_eval_count"]) == ("length", 64)
