"""HTTP requests for a streamed chat answer, as the bytes that go over the socket."""

import enum
import json
from collections.abc import Mapping
from typing import Any


class Api(enum.StrEnum):
    """Where a chat answer is asked for."""

    OPENAI = "/v1/chat/completions"
    NATIVE = "/api/chat"


def chat_request(
    api: Api, *, port: int, model: str, prompt: str, n_tokens: int, more: Mapping[str, Any] | None = None
) -> bytes:
    """Ask for an answer of `n_tokens` at temperature 0 on a connection of its own, with `more` fields in the body."""
    chat = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True}
    body = json.dumps({**chat, **_limits(api, n_tokens), **(more or {})})
    head = (
        f"POST {api} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n"
    )
    return (head + body).encode()


def _limits(api: Api, n_tokens: int) -> dict[str, Any]:
    if api is Api.OPENAI:
        return {"max_tokens": n_tokens, "temperature": 0, "stream_options": {"include_usage": True}}
    return {"options": {"num_predict": n_tokens, "temperature": 0}}
