"""What the KV cache spared, as each family's clients are told."""

from typing import Any

import httpx
import pytest

from tests.support.server import DEADLINE_S, RunningServer

pytestmark = pytest.mark.processes

HELLO = [{"role": "user", "content": "Hello"}]


def _ask(server: RunningServer, path: str, **fields: Any) -> Any:
    body = {"model": "tiny", "stream": False, **fields}
    return httpx.post(f"{server.url}{path}", json=body, timeout=DEADLINE_S, trust_env=False).json()


def test_second_prompt_is_told_what_was_spared(server: RunningServer) -> None:
    """All but its last token, whichever family asks; the whole count stays what it was."""
    options = {"num_predict": 1}
    chat = [_ask(server, "/api/chat", messages=HELLO, options=options) for _ in range(2)][-1]
    assert (chat["prompt_eval_count"], chat["prompt_cached_count"]) == (12, 11)
    generated = [_ask(server, "/api/generate", prompt="Hello", options=options) for _ in range(2)][-1]
    assert generated["prompt_cached_count"] == generated["prompt_eval_count"] - 1
    usage = _ask(server, "/v1/chat/completions", messages=HELLO, max_tokens=1)["usage"]
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]) == (12, {"cached_tokens": 11})
    usage = _ask(server, "/v1/messages", messages=HELLO, max_tokens=1)["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (1, 11)
