"""`/api/generate` over a real server, with a scripted runner behind it."""

import json

from tests.gateway.conftest import RunningGateway
from tests.support.stub_backend import StubBackend


async def test_generate_streams_one_line_per_piece(gateway: RunningGateway, backend: StubBackend) -> None:
    """Lines come as recorded: text, then a last line with reason, context and figures."""
    response = await gateway.post("/api/generate", {"model": "tiny", "prompt": "Hi"})
    lines = [json.loads(line) for line in response.text.splitlines()]
    print(response.text, response.headers)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert "".join(line["response"] for line in lines) == "Hello world"
