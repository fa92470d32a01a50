"""Tests of files that a prompt names by their paths."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.attachments import attached, begins_with_file
from tests.cli.conftest import Result
from tests.cli.double import Double
from tests.cli.test_chat import chatting

_CONTENT = base64.b64encode(b"GIF").decode()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two pictures and a sound."""
    for name in ("a.png", "two words.JPG", "say.wav"):
        (tmp_path / name).write_bytes(b"GIF")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "words", "n_files"),
    [
        ("What is in ./a.png?", "What is in ?", 1),
        ("{folder}/a.png what is this", "what is this", 1),
        ("look: ~/a.png and './two words.JPG'", "look:  and", 2),
        (r"this ./two\ words.JPG here", "this  here", 1),
        ("./say.wav", "", 1),
        ("what is a.png", "what is a.png", 0),
        ("./gone.png is gone", "./gone.png is gone", 0),
        ("see http://host/a.png or x./a.png or ./a.pngs", "see http://host/a.png or x./a.png or ./a.pngs", 0),
        ("  ./nothing to see.txt  ", "  ./nothing to see.txt  ", 0),
    ],
)
def test_attached_takes_paths_of_files_out_of_the_text(folder: Path, text: str, words: str, n_files: int) -> None:
    """Paths as people type or drop them are read; what is no file stays a word."""
    assert attached(text.format(folder=folder)) == (words, [_CONTENT] * n_files)


@given(st.text(alphabet="./ \\'\"apng~\n"))
def test_attached_leaves_any_text_without_files_as_it_is(text: str) -> None:
    """Whatever looks like a path, and is none, is not changed."""
    assert attached(text) == (text, [])
    assert not begins_with_file(text)


def test_run_attaches_files_for_a_model_that_sees(
    folder: Path, server: Double, actorctl: Callable[..., Result]
) -> None:
    """The request carries them, the user is told; for another model the path is a word like others."""
    assert folder.is_dir()
    server.replies["POST /api/generate"] = (200, [{"response": "A llama."}, {"response": "", "done": True}])
    server.replies["POST /api/show"] = (200, [{"capabilities": ["completion", "vision"]}])
    assert actorctl("run", "m", "what is", "./a.png") == Result(0, "A llama.\n\n", "Added image 'a.png'\n")
    server.replies["POST /api/show"] = (200, [{"capabilities": ["completion"]}])
    actorctl("run", "m", "what is", "./a.png")
    assert server.asked("POST /api/generate") == [
        {"model": "m", "prompt": "what is", "images": [_CONTENT]},
        {"model": "m", "prompt": "what is ./a.png"},
    ]


def test_run_with_a_file_that_cannot_be_read_says_so(
    folder: Path, server: Double, actorctl: Callable[..., Result]
) -> None:
    """A file over the bound is named, and nothing is asked."""
    with (folder / "big.png").open("wb") as big:
        big.truncate(100_000_001)
    server.replies["POST /api/show"] = (200, [{"capabilities": ["completion", "vision"]}])
    result = actorctl("run", "m", "./big.png")
    assert (result.status, result.err) == (1, "Error: big.png is too large: send files of at most 100 MB\n")
    assert server.asked("POST /api/generate") == []


def test_chat_takes_a_message_that_begins_with_a_path_for_a_message(folder: Path, server: Double) -> None:
    """A dropped file begins with a slash, as commands do; its content stays in the conversation."""
    server.replies["POST /api/show"] = (200, [{"capabilities": ["completion", "vision"]}])
    server.replies["POST /api/generate"] = (200, [{"done": True, "done_reason": "load"}])
    server.replies["POST /api/chat"] = (200, [{"message": {"content": "A llama."}}, {"done": True}])
    with chatting() as terminal:
        terminal.type(f"{folder}/a.png")
        terminal.read_until("A llama.\n\n")
        terminal.read_until(">>> ")
        terminal.type("/gone/a.png")
        terminal.read_until("Unknown command '/gone/a.png'")
        terminal.type("more")
        terminal.read_until("A llama.\n\n")
    first, second = server.asked("POST /api/chat")
    assert first["messages"] == [{"role": "user", "content": "", "images": [_CONTENT]}]
    assert second["messages"][0] == first["messages"][0]
