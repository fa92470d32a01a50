"""Transcriptions of real sounds, through a model with a projector that hears, with OpenAI's own clients.

The projector's weights are random, so what the model says of a sound has no sense; that it hears has: another sound, or
another task, gives another answer.
"""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from registry.create import CreateRequest, create
from registry.store import Store
from tests.support.pictures import png, wav
from tests.support.server import DEADLINE_S, RunningServer
from tests.support.tiny_media import write_speech_projector

pytestmark = pytest.mark.processes

TEXT_WIDTH = 192
LOW, HIGH = wav(1.5, from_hz=120, to_hz=400), wav(1.5, from_hz=900, to_hz=3000)


@pytest.fixture(scope="module")
def hearing(shared_server: RunningServer, tiny_gguf: Path) -> str:
    """The name of a model that hears."""
    store = Store(shared_server.place.models)
    projector = write_speech_projector(shared_server.place.folder / "projector.gguf", text_width=TEXT_WIDTH)
    files = {"model.gguf": store.blobs.add_file(tiny_gguf), "mmproj.gguf": store.blobs.add_file(projector)}
    for _ in create(store, CreateRequest(model="hearing", files=files, parameters={"num_predict": 40})):
        pass
    return "hearing"


def test_transcription_hears_the_sound(v1: openai.OpenAI, hearing: str) -> None:
    """The same sound gives the same text, another one another."""
    low, again, high = (
        v1.audio.transcriptions.create(model=hearing, file=("a.wav", sound)).text for sound in (LOW, LOW, HIGH)
    )
    assert low == again
    assert low != high


def test_transcription_takes_every_field(v1: openai.OpenAI, hearing: str) -> None:
    """Language and prompt reach the model; the reply is JSON or text."""
    plain = v1.audio.transcriptions.create(model=hearing, file=("a.wav", LOW), response_format="text")
    assert isinstance(plain, str)
    whole = v1.audio.transcriptions.create(model=hearing, file=("a.wav", LOW), response_format="json", temperature=0)
    assert whole.text == plain.strip()
    verbose: Any = v1.audio.transcriptions.create(
        model=hearing, file=("a.wav", LOW), response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert verbose.text == whole.text
    told = v1.audio.transcriptions.create(model=hearing, file=("a.wav", LOW), language="de", prompt="names: Ida")
    assert told.text != whole.text


def test_transcription_with_the_async_client(server: RunningServer, hearing: str) -> None:
    """The same, side by side."""

    async def use() -> list[str]:
        async with (
            openai.DefaultAsyncHttpxClient(trust_env=False) as transport,
            openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", http_client=transport) as client,
        ):
            answers = await asyncio.gather(
                *(client.audio.transcriptions.create(model=hearing, file=("a.wav", LOW)) for _ in "abc")
            )
            return [answer.text for answer in answers]

    assert len(set(asyncio.run(use()))) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "audio file is empty"),
        (b"hello", "no image or sound"),
        (LOW[:40], "cut off"),
        (b"RIFF" + LOW[4:20], "cut off"),
        (png(30, 20, seed=1), "does not support images"),
    ],
)
def test_transcription_of_no_sound_is_a_bad_request(
    server: RunningServer, v1: openai.OpenAI, hearing: str, content: bytes, says: str
) -> None:
    """The client raises its own error, whose text says what is wrong; the runner goes on."""
    with pytest.raises(openai.BadRequestError, match=says):
        v1.audio.transcriptions.create(model=hearing, file=("a.wav", content))
    assert v1.audio.transcriptions.create(model=hearing, file=("a.wav", LOW)).text
    (loaded,) = httpx.get(f"{server.url}/api/ps", timeout=DEADLINE_S, trust_env=False).json()["models"]
    assert loaded["name"].startswith("hearing")


def test_transcription_streamed_gives_its_text(v1: openai.OpenAI, hearing: str) -> None:
    """Pieces of text, then the whole of it."""
    *pieces, last = v1.audio.transcriptions.create(model=hearing, file=("a.wav", LOW), stream=True)
    assert {piece.type for piece in pieces} == {"transcript.text.delta"}
    assert last.type == "transcript.text.done"
    assert last.text == v1.audio.transcriptions.create(model=hearing, file=("a.wav", LOW)).text
    assert "".join(piece.delta for piece in pieces if piece.type == "transcript.text.delta").strip() == last.text
