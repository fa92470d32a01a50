"""The media thread with real projectors: which one reads what, and what is encoded once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.errors import UnsupportedByModel
from actors.messages.model import LoadPlan, ModelSpec
from runners.llama.binding import start_backend
from runners.llama.model import Model
from runners.media_reader import MediaReader
from tests.support.pictures import png, wav
from tests.support.tiny_media import write_llava_projector, write_speech_projector

pytestmark = pytest.mark.model

PLAN = LoadPlan(num_ctx=512, n_slots=1)
TINY_WIDTH = 192
IMAGE, SOUND = png(60, 60, seed=1), wav(1.0, from_hz=200, to_hz=900)


@pytest.fixture
async def reader(tmp_path: Path, tiny_gguf: Path) -> AsyncIterator[MediaReader]:
    """A model with one projector for images and one for sounds."""
    start_backend()
    model = Model(str(tiny_gguf), PLAN)
    spec = ModelSpec(
        key="tiny",
        name="tiny:latest",
        digest="0" * 64,
        weights_path=str(tiny_gguf),
        weights_bytes=0,
        n_layers=4,
        n_ctx_train=8192,
        kv_bytes_per_token=1024,
        projector_paths=(
            str(write_llava_projector(tmp_path / "image.gguf", text_width=TINY_WIDTH)),
            str(write_speech_projector(tmp_path / "sound.gguf", text_width=TINY_WIDTH)),
        ),
    )
    reader = MediaReader(model, spec, PLAN)
    yield reader
    reader.close()
    model.close()


async def test_reader_takes_the_projector_of_each_kind(reader: MediaReader) -> None:
    """Several in a manifest: an image goes to the one that sees, a sound to the one that hears."""
    for content in (IMAGE, SOUND):
        marker = await reader.marker([content])
        prompt = await reader.read(f"What is {marker}?", [content], limit=400)
        assert len(prompt.spans) == 1


async def test_reader_refuses_kinds_of_several_projectors_in_one_request(reader: MediaReader) -> None:
    """No one of them could read the whole prompt; the caller is told what to do."""
    with pytest.raises(UnsupportedByModel, match=r"images and audio in one request: send them in two"):
        await reader.marker([IMAGE, SOUND])


async def test_reader_encodes_the_same_content_once(reader: MediaReader) -> None:
    """By content, in whatever prompt and however often it stands there."""
    marker = await reader.marker([IMAGE])
    first = await reader.read(f"{marker} What?", [IMAGE], limit=400)
    second = await reader.read(f"Look: {marker} and {marker}", [IMAGE, IMAGE], limit=400)
    other = await reader.read(f"{marker} What?", [png(60, 60, seed=2)], limit=400)
    assert all(span.embeddings is first.spans[0].embeddings for span in second.spans)
    assert other.spans[0].embeddings is not first.spans[0].embeddings
