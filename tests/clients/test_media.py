"""Images and sounds through a whole server, with each family's own client."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest

from registry.create import CreateRequest, create
from registry.store import Store
from tests.support.pictures import huge_png, png, wav
from tests.support.server import DEADLINE_S, RunningServer
from tests.support.tiny_media import LLAVA_IMAGE_TOKENS, write_llava_projector

pytestmark = pytest.mark.processes

TEXT_WIDTH = 192
RED, BLUE = png(90, 60, seed=5), png(90, 60, seed=6)
GREEDY = {"temperature": 0, "num_predict": 12}


@pytest.fixture(scope="module")
def seeing(shared_server: RunningServer, tiny_gguf: Path) -> Iterator[str]:
    """The name of a model that was created from weights and a projector."""
    store = Store(shared_server.place.models)
    projector = write_llava_projector(shared_server.place.folder / "projector.gguf", text_width=TEXT_WIDTH)
    files = {"model.gguf": store.blobs.add_file(tiny_gguf), "mmproj.gguf": store.blobs.add_file(projector)}
    for _ in create(store, CreateRequest(model="seeing", files=files)):
        pass
    yield "seeing"
    store.delete("seeing")


def test_images_are_seen_by_every_family(client: ollama.Client, server: RunningServer, seeing: str) -> None:
    """An image takes its place in the prompt of each API, and another one gives another answer."""
    question = "What is this?"
    said = {"role": "user", "content": question}
    plain, red, blue = (
        client.chat(seeing, [said | {"images": images}], options=GREEDY) for images in ([], [RED], [BLUE])
    )
    assert red.prompt_eval_count == blue.prompt_eval_count == (plain.prompt_eval_count or 0) + LLAVA_IMAGE_TOKENS
    assert len({str(answer.message) for answer in (plain, red, blue)}) == 3
    whole = client.generate(seeing, question, images=[RED], options=GREEDY)
    assert (whole.response, whole.thinking) == (red.message.content, red.message.thinking)
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(RED).decode()}
    blocks: list[dict[str, Any]] = [{"type": "image", "source": source}, {"type": "text", "text": question}]
    usage = _asked(server, "/v1/messages", seeing, blocks)
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == red.prompt_eval_count
    url = f"data:image/png;base64,{base64.b64encode(RED).decode()}"
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    without = _asked(server, "/v1/chat/completions", seeing, [{"type": "text", "text": ""}, parts[1]])
    with_it = _asked(server, "/v1/chat/completions", seeing, parts)
    assert with_it["prompt_tokens"] == without["prompt_tokens"] + LLAVA_IMAGE_TOKENS


def _asked(server: RunningServer, path: str, model: str, parts: list[dict[str, Any]]) -> dict[str, int]:
    """Send one message of several parts; give the usage that the answer tells."""
    body = {"model": model, "max_tokens": 4, "temperature": 0, "messages": [{"role": "user", "content": parts}]}
    response = httpx.post(f"{server.url}{path}", json=body, timeout=DEADLINE_S, trust_env=False)
    assert response.status_code == 200, response.text
    usage: dict[str, int] = response.json()["usage"]
    return usage


def test_several_images_and_raw_markers(client: ollama.Client, seeing: str) -> None:
    """Each image takes its place, in a chat and in a raw prompt; a raw prompt must say where."""
    two = client.generate(seeing, "Which?", images=[RED, BLUE], options=GREEDY)
    one = client.generate(seeing, "Which?", images=[RED], options=GREEDY)
    assert two.prompt_eval_count == (one.prompt_eval_count or 0) + LLAVA_IMAGE_TOKENS
    raw = client.generate(seeing, "A [img-1] B [img-0]", images=[RED, BLUE], raw=True, options=GREEDY)
    assert (raw.prompt_eval_count or 0) > 2 * LLAVA_IMAGE_TOKENS
    with pytest.raises(ollama.ResponseError, match=r"put \[img-0\] into the text") as caught:
        client.generate(seeing, "no place", images=[RED], raw=True)
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello", "no image or sound"),
        (RED[:60], "damaged"),
        (huge_png(60_000, 60_000), "too large"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "convert the image"),
        (wav(0.2, from_hz=100, to_hz=900), "does not support audio"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "cut off"),
    ],
)
def test_what_is_no_image_is_a_clear_400_and_the_runner_lives(
    client: ollama.Client, server: RunningServer, seeing: str, content: bytes, says: str
) -> None:
    """The error names the remedy, and the next request is answered."""
    with pytest.raises(ollama.ResponseError, match=says) as caught:
        client.generate(seeing, "What is this?", images=[content])
    assert caught.value.status_code == 400
    assert client.generate(seeing, "Hello", options=GREEDY).eval_count
    (loaded,) = httpx.get(f"{server.url}/api/ps", timeout=DEADLINE_S, trust_env=False).json()["models"]
    assert loaded["name"].startswith("seeing")


def test_image_for_a_model_without_projector_is_a_clear_400(client: ollama.Client, v1: openai.OpenAI) -> None:
    """It is told before the model is loaded, in each family's shape."""
    with pytest.raises(ollama.ResponseError, match='"tiny" does not support images: it has no projector') as caught:
        client.chat("tiny", [{"role": "user", "content": "x", "images": [RED]}])
    assert caught.value.status_code == 400
    url = f"data:image/png;base64,{base64.b64encode(RED).decode()}"
    with pytest.raises(openai.BadRequestError, match="it has no projector"):
        v1.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
        )
