"""What a user asks to pull."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidName, InvalidRequest
from registry.names import ModelName
from registry.reference import FileUrl, LocalFile, name_for_file, parse_reference


def test_names_urls_and_paths_are_told_apart() -> None:
    """By their form alone."""
    assert parse_reference("hf.co/a/b:Q4_K_M") == ModelName("hf.co", "a", "b", "Q4_K_M")
    assert parse_reference("https://huggingface.co/a/b") == ModelName("huggingface.co", "a", "b", "latest")
    assert parse_reference("b.gguf") == ModelName("registry.ollama.ai", "library", "b.gguf", "latest")
    assert parse_reference("/x/y.gguf") == LocalFile((Path("/x/y.gguf"),))
    url = parse_reference("https://h.example/p/x.GGUF?download=true")
    assert isinstance(url, FileUrl)
    assert url.names == ("x.GGUF",)


def test_page_of_a_file_at_a_hub_is_its_download() -> None:
    """What people copy from their browser works."""
    found = parse_reference("https://huggingface.co/a/b/blob/main/q/x.gguf")
    assert isinstance(found, FileUrl)
    assert found.urls[0].geturl() == "https://huggingface.co/a/b/resolve/main/q/x.gguf"


@pytest.mark.parametrize("text", ["/x.gguf/..", "../x.gguf", "x/y/z/w.gguf", "ftp://a/b/c.gguf/", "/\0.gguf"])
def test_what_is_none_of_these_is_refused(text: str) -> None:
    """As a wrong name."""
    with pytest.raises(InvalidName):
        parse_reference(text)


@pytest.mark.parametrize("text", ["https:///x.gguf", "https://u:p@h/x.gguf", "https://h:0/x.gguf", "https://h/ü.gguf"])
def test_urls_that_cannot_be_asked_are_refused(text: str) -> None:
    """No host, a user name, no port, other characters than a URL's."""
    with pytest.raises(InvalidRequest):
        parse_reference(text)


@pytest.mark.parametrize(
    ("file_name", "model"),
    [("My Model (1).gguf", "My-Model-1-"), ("a-00001-of-00002.gguf", "a"), ("..x.gguf", "x"), ("é.Q4.gguf", "Q4")],
)
def test_name_for_a_file_is_a_legal_one(file_name: str, model: str) -> None:
    """What no name may hold becomes a dash."""
    assert name_for_file(file_name).model == model


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_reference_of_any_text_raises_only_what_it_tells(text: str) -> None:
    """Whatever is asked for is a reference or one of two errors."""
    for asked in (text, f"https://h/{text}.gguf", f"/{text}.gguf"):
        try:
            found = parse_reference(asked)
            if isinstance(found, FileUrl):
                name_for_file(found.names[0])
        except (InvalidName, InvalidRequest):
            pass
