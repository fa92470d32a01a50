"""Ollama's Python client: listing, describing, making, copying and deleting models."""

from collections.abc import Callable
from pathlib import Path

import ollama
import pytest

pytestmark = pytest.mark.processes

GREETING = "Hello! How can I help you today?"


def _names(client: ollama.Client) -> set[str | None]:
    return {entry.model for entry in client.list().models}


def test_list_describes_what_is_installed(client: ollama.Client, tiny_gguf: Path) -> None:
    """Name, digest, size, time and details are there."""
    (entry,) = (entry for entry in client.list().models if entry.model == "tiny:latest")
    assert entry.size
    assert entry.size >= tiny_gguf.stat().st_size
    assert len(entry.digest or "") == 64
    assert entry.modified_at
    assert entry.details
    assert (entry.details.format, entry.details.family) == ("gguf", "llama")


def test_show_describes_one_model(client: ollama.Client) -> None:
    """The template, the facts of the file and what the model can do."""
    shown = client.show("tiny")
    assert shown.template
    assert "<|im_start|>" in shown.template
    assert shown.modelinfo
    assert shown.modelinfo["llama.context_length"] == 8192
    assert {"completion", "tools", "thinking"} <= set(shown.capabilities or ())
    assert shown.details


def test_create_from_a_file_through_blobs(client: ollama.Client, tiny_gguf: Path) -> None:
    """A file is uploaded once, becomes a model with texts of its own, and answers."""
    digest = client.create_blob(tiny_gguf)
    steps = [
        step.status
        for step in client.create(
            "made",
            files={"tiny.gguf": digest},
            system="Speak like a pirate.",
            parameters={"temperature": 0, "num_ctx": 2048},
            stream=True,
        )
    ]
    assert steps[-1] == "success"
    assert "made:latest" in _names(client)
    shown = client.show("made")
    assert "Speak like a pirate." in (shown.modelfile or "")
    assert "temperature" in (shown.parameters or "")
    reply = client.generate("made", "Hello")
    assert reply.done_reason == "stop"
    assert reply.prompt_eval_count
    assert reply.prompt_eval_count > 12
    client.delete("made")


def test_create_from_a_model(client: ollama.Client) -> None:
    """A new model over the same weights; without a stream the last step comes alone."""
    last = client.create("derived", from_="tiny", parameters={"temperature": 0, "stop": ["help you"]})
    assert last.status == "success"
    assert client.generate("derived", "Hello").response == "Hello! How can I "
    client.delete("derived")


def test_copy_and_delete(client: ollama.Client) -> None:
    """A copy answers like its source and can go without it."""
    assert client.copy("tiny", "team/copied:v1").status == "success"
    assert client.generate("team/copied:v1", "Hello", options={"temperature": 0}).response == GREETING
    assert client.delete("team/copied:v1").status == "success"
    assert "team/copied:v1" not in _names(client)
    assert "tiny:latest" in _names(client)


def test_what_is_not_there_is_a_404(client: ollama.Client) -> None:
    """Describing, copying and deleting say so."""
    for call in (lambda: client.show("absent"), lambda: client.copy("absent", "b"), lambda: client.delete("absent")):
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == 404
        assert "absent" in caught.value.error


def test_what_cannot_be_a_name_is_a_400(client: ollama.Client) -> None:
    """Nothing is made under it."""
    before = _names(client)
    calls: tuple[Callable[[], object], ...] = (
        lambda: client.create("a b", from_="tiny"),
        lambda: client.copy("tiny", "a b"),
    )
    for call in calls:
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == 400
    assert _names(client) == before


def test_file_that_is_no_gguf_is_refused(client: ollama.Client, tmp_path: Path) -> None:
    """The error says what is wrong, and nothing half-made is listed."""
    junk = tmp_path / "junk.gguf"
    junk.write_bytes(b"no model at all")
    digest = client.create_blob(junk)
    before = _names(client)
    with pytest.raises(ollama.ResponseError) as caught:
        client.create("junk", files={"junk.gguf": digest})
    assert caught.value.status_code == 400
    assert _names(client) == before


def test_file_that_is_cut_is_refused(client: ollama.Client, tmp_path: Path, tiny_gguf: Path) -> None:
    """A download that broke off makes no model."""
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_gguf.read_bytes()[:-1000])
    digest = client.create_blob(cut)
    with pytest.raises(ollama.ResponseError):
        list(client.create("cut", files={"cut.gguf": digest}, stream=True))
    assert "cut:latest" not in _names(client)
