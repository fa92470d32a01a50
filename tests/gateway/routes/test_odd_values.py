"""Every field of every JSON route with values that do not belong there: a 4xx or an answer, never a 5xx or a hang."""

from typing import Any

import msgspec
import pytest
import trio

from gateway.wire import native_requests, openai_requests
from gateway.wire.request_json import RequestBody
from tests.gateway.conftest import RunningGateway

DEADLINE_S = 60.0
HI = [{"role": "user", "content": "Hi"}]
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    1 << 70,
    "",
    "x",
    "\x00\ud7ff\u2028",
    [],
    [None],
    [1 << 70],
    ["x"],
    [{}],
    [{"role": 5, "content": {"a": []}, "function": []}],
    {},
    {"x": None},
    {"num_ctx": 1 << 62, "seed": -(1 << 62), "temperature": 1e308, "stop": ["", "a"], "num_predict": 1 << 62},
)
NOT_OFFERED = 501
ROUTES: tuple[tuple[str, str, type[RequestBody], dict[str, Any]], ...] = (
    ("POST", "/api/generate", native_requests.GenerateRequest, {"model": "tiny-tools", "prompt": "x"}),
    ("POST", "/api/chat", native_requests.ChatRequest, {"model": "tiny-tools", "messages": HI}),
    ("POST", "/api/show", native_requests.ShowRequest, {"model": "minilm"}),
    ("POST", "/api/copy", native_requests.CopyRequest, {"source": "minilm", "destination": "copied"}),
    ("DELETE", "/api/delete", native_requests.DeleteRequest, {"model": "nope"}),
    ("POST", "/api/create", native_requests.CreateBody, {"model": "made", "from": "minilm"}),
    ("POST", "/v1/chat/completions", openai_requests.ChatCompletionRequest, {"model": "tiny-tools", "messages": HI}),
    ("POST", "/v1/completions", openai_requests.CompletionRequest, {"model": "tiny-tools", "prompt": "x"}),
)


@pytest.mark.parametrize(("method", "path", "body", "valid"), ROUTES)
async def test_odd_values_are_never_our_fault(
    gateway: RunningGateway, method: str, path: str, body: type[RequestBody], valid: dict[str, Any]
) -> None:
    """Whatever stands in a field, the answer is no server error, and the server goes on."""
    failed = []
    with trio.fail_after(DEADLINE_S):
        for field in msgspec.structs.fields(body):
            for value in ODD:
                content = msgspec.json.encode(valid | {field.encode_name: value})
                response = await gateway.client.request(method, path, content=content)
                if response.status_code >= 500 and response.status_code != NOT_OFFERED:
                    failed.append((field.encode_name, value, response.status_code, response.text))
        assert (await gateway.client.get("/")).status_code == 200
    assert failed == []
