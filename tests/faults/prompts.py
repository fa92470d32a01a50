"""Requests for the fault tests, and how to read their answers. All are greedy, so their text is known."""

import json
from collections.abc import Sequence
from typing import Any

NATIVE = "/api/generate"
CHAT_V1 = "/v1/chat/completions"


def counting(n_tokens: int, *, model: str = "tiny", **fields: Any) -> dict[str, Any]:
    """Ask a tiny model for exactly so many tokens: it falls into a loop that never stops by itself."""
    options = {"temperature": 0, "num_predict": n_tokens}
    return {"model": model, "prompt": "1 2 3 4", "raw": True, "options": options} | fields


def greeting(*, model: str = "tiny", **fields: Any) -> dict[str, Any]:
    """Ask a tiny model for one short answer, through its chat template."""
    return {"model": model, "prompt": "Hello", "stream": False, "options": {"temperature": 0}} | fields


GREETING = "Hello! How can I help you today?"


def endless(**fields: Any) -> dict[str, Any]:
    """Ask SmolLM2 for a stream that takes minutes, also on a fast machine."""
    options = {"temperature": 0, "num_ctx": 8192, "num_predict": -1}
    return {"model": "smollm2", "prompt": "1, 2, 3, 4, 5, 6, 7,", "raw": True, "options": options} | fields


def chat_v1(**fields: Any) -> dict[str, Any]:
    """Ask SmolLM2 for a story, the OpenAI way."""
    story = "Write a very long story about a ship and its crew."
    return {"model": "smollm2", "messages": [{"role": "user", "content": story}], "temperature": 0} | fields


def text_of(lines: Sequence[str]) -> str:
    """Put the text of a native stream together."""
    return "".join(json.loads(line).get("response", "") for line in lines)


def last_of(lines: Sequence[str]) -> dict[str, Any]:
    """Give the last line of a native stream."""
    last: dict[str, Any] = json.loads(lines[-1])
    return last
