"""`/v1/audio/transcriptions`: forms, and models that do not hear."""

from typing import Any

import pytest

from tests.gateway.conftest import RunningGateway

ROUTE = "/v1/audio/transcriptions"
SOUND = {"file": ("a.wav", b"RIFF....WAVE")}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({"data": {"model": "smollm2"}, "files": {"file": ("a.wav", b"")}}, "audio file is empty"),
        ({"data": {"language": "en"}, "files": SOUND}, "model is required"),
        ({"data": {"model": "smollm2"}, "files": {"other": ("a", b"x")}}, "file is required"),
        ({"json": {}}, "failed to parse multipart form"),
        (
            {"content": b"--x\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            "failed to parse multipart form",
        ),
        ({"data": {"model": "smollm2"}, "files": SOUND}, "does not support audio: choose a model that hears"),
    ],
)
async def test_transcription_refuses_in_openais_shape(gateway: RunningGateway, form: dict[str, Any], text: str) -> None:
    """Malformed forms and models without ears are the caller's mistake, and the text says which."""
    response = await gateway.client.post(ROUTE, **form)
    assert response.status_code == 400
    assert text in response.json()["error"]["message"]
    assert response.json()["error"]["type"] == "invalid_request_error"
