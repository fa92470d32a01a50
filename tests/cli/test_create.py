"""Tests of `create`: Modelfiles, paths, uploads and errors."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Result
from tests.cli.double import Double

Actorctl = Callable[..., Result]

_CONTENT = b"GGUF and more"
_DIGEST = f"sha256:{hashlib.sha256(_CONTENT).hexdigest()}"
_BAD_COMMAND = (
    '(line 2): command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", '
    '"parser", "parameter", "message", or "requires"'
)
_STATUSES = [{"status": "parsing GGUF"}, {"status": "writing manifest"}, {"status": "success"}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Double) -> Path:
    """Work in a folder with a model file, against a server that creates."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.gguf").write_bytes(_CONTENT)
    server.replies["POST /api/create"] = (200, _STATUSES)
    return tmp_path


def test_create_from_file_uploads_it_and_prints_statuses(folder: Path, server: Double, actorctl: Actorctl) -> None:
    """The blob arrives under its digest, the request names it, statuses go to standard error."""
    result = actorctl("create", "m", "--from", "model.gguf")
    assert (result.status, result.out) == (0, "")
    assert result.err == (
        f"gathering model components\ncopying file {_DIGEST} 100%\nparsing GGUF\nwriting manifest\nsuccess\n"
    )
    assert server.blobs == {_DIGEST: _CONTENT}
    assert server.asked("POST /api/create") == [{"model": "m", "files": {"model.gguf": _DIGEST}}]
    assert folder.exists()


def test_create_from_the_first_file_of_a_split_model_sends_all(
    folder: Path, server: Double, actorctl: Actorctl
) -> None:
    """The first stands for all, named once or together with the others; one that is missing is named."""
    names = [f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for name in names:
        (folder / name).write_bytes(_CONTENT + name.encode())
    (folder / "Modelfile").write_text("".join(f"FROM {name}\n" for name in names))
    for arguments in (("--from", names[0]), ("-f", "Modelfile")):
        assert actorctl("create", "m", *arguments).status == 0
    assert [sorted(body["files"]) for body in server.asked("POST /api/create")] == [names, names]
    (folder / names[1]).unlink()
    result = actorctl("create", "m", "--from", names[0])
    assert (result.status, f"open {names[1]}: no such file or directory" in result.err) == (1, True)


@pytest.mark.usefixtures("folder")
def test_create_does_not_send_a_blob_that_is_there(server: Double, actorctl: Actorctl) -> None:
    """A stored blob is not copied again."""
    server.blobs[_DIGEST] = _CONTENT
    assert "copying" not in actorctl("create", "m", "--from", "model.gguf").err


def test_create_from_modelfile_sends_all_its_commands(folder: Path, server: Double, actorctl: Actorctl) -> None:
    """Each command arrives under its field, and paths are relative to the Modelfile."""
    sub = folder / "sub"
    sub.mkdir()
    (sub / "Recipe").write_text(
        "FROM ../model.gguf\nPARAMETER temperature 0\nPARAMETER stop A\nPARAMETER stop B\n"
        'SYSTEM """You are\na pirate."""\nMESSAGE user hi\nMESSAGE assistant arr\nLICENSE MIT\nTEMPLATE {{ .Prompt }}\n'
    )
    assert actorctl("create", "m", "-f", "sub/Recipe").status == 0
    (body,) = server.asked("POST /api/create")
    assert body == {
        "model": "m",
        "files": {"model.gguf": _DIGEST},
        "parameters": {"temperature": 0, "stop": ["A", "B"]},
        "system": "You are\na pirate.",
        "template": "{{ .Prompt }}",
        "license": ["MIT"],
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "arr"}],
    }


def test_create_from_model_name_sends_the_name(folder: Path, server: Double, actorctl: Actorctl) -> None:
    """A FROM that is no path names a model; the default Modelfile is found."""
    (folder / "Modelfile").write_text("FROM smollm2:135m\n")
    assert actorctl("create", "m").status == 0
    assert server.asked("POST /api/create") == [{"model": "m", "from": "smollm2:135m"}]


def test_create_without_modelfile_takes_the_folders_models(folder: Path, server: Double, actorctl: Actorctl) -> None:
    """A missing Modelfile reads as `FROM .`."""
    assert actorctl("create", "m").status == 0
    assert server.asked("POST /api/create")[0]["files"] == {"model.gguf": _DIGEST}
    assert folder.exists()


@pytest.mark.usefixtures("server")
def test_create_in_an_empty_folder_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actorctl: Actorctl
) -> None:
    """Neither Modelfile nor model is one clear error."""
    monkeypatch.chdir(tmp_path)
    result = actorctl("create", "missing", "-f", "Nope")
    assert result.status == 1
    assert result.err == "gathering model components\nError: no Modelfile or safetensors files found\n"


@pytest.mark.parametrize(
    ("modelfile", "error"),
    [
        (
            "FROM smollm2\nWIBBLE x\n",
            _BAD_COMMAND,
        ),
        ("PARAMETER temperature 0\n", "no FROM line"),
        ("FROM m\nPARAMETER wibble 1\n", "unknown parameter 'wibble'"),
    ],
)
def test_create_from_bad_modelfile_names_the_line(
    folder: Path, server: Double, actorctl: Actorctl, modelfile: str, error: str
) -> None:
    """A Modelfile that does not parse reaches no server."""
    (folder / "Modelfile").write_text(modelfile)
    assert actorctl("create", "bad") == Result(1, "", f"Error: {error}\n")
    assert server.requests == []


@pytest.mark.parametrize("source", ["./gone.gguf", "/nowhere/gone.gguf", "gone.gguf"])
@pytest.mark.usefixtures("folder")
def test_create_from_missing_file_names_it(server: Double, actorctl: Actorctl, source: str) -> None:
    """A path that is not there is not taken for a model name."""
    result = actorctl("create", "m", "--from", source)
    assert result.status == 1
    assert result.err.endswith("gone.gguf: no such file or directory\n")
    assert server.requests == []


@pytest.mark.usefixtures("folder")
def test_create_with_invalid_name_sends_nothing(server: Double, actorctl: Actorctl) -> None:
    """The name is checked before files are hashed and sent."""
    assert actorctl("create", "../x", "--from", "model.gguf") == Result(1, "", "Error: invalid model name\n")
    assert server.blobs == {}


def test_create_from_folder_with_a_link_out_of_it_is_refused(folder: Path, actorctl: Actorctl) -> None:
    """A folder gives what is in it, not what links in it point to."""
    inner = folder / "inner"
    inner.mkdir()
    (inner / "model.gguf").symlink_to(folder / "model.gguf")
    result = actorctl("create", "m", "--from", "inner")
    assert result.status == 1
    assert "insecure path" in result.err


@pytest.mark.usefixtures("folder")
def test_create_that_breaks_off_prints_the_servers_error(server: Double, actorctl: Actorctl) -> None:
    """An error line in the stream ends the command with status 1."""
    server.replies["POST /api/create"] = (200, [{"status": "parsing GGUF"}, {"error": "not a GGUF file"}])
    result = actorctl("create", "m", "--from", "model.gguf")
    assert result.status == 1
    assert result.err.endswith("parsing GGUF\nError: not a GGUF file\n")


@pytest.mark.usefixtures("folder")
def test_create_as_json_prints_a_line_for_each_status(server: Double, actorctl: Actorctl) -> None:
    """Programs read the statuses on standard output."""
    server.blobs[_DIGEST] = _CONTENT
    out = actorctl("create", "m", "--from", "model.gguf", "--json").out
    assert [json.loads(line) for line in out.splitlines()] == [{"status": "gathering model components"}, *_STATUSES]


def test_create_from_safetensors_folder_sends_what_describes_them_too(
    folder: Path, server: Double, actorctl: Actorctl
) -> None:
    """Weights come before a GGUF that lies beside them; configurations one level below and the tokenizer come along."""
    (folder / "1_Pooling").mkdir()
    names = ["model-00001.safetensors", "config.json", "1_Pooling/config.json", "tokenizer.json", "chat_template.jinja"]
    for name in [*names, "README.md"]:
        (folder / name).write_text(name)
    assert actorctl("create", "m", "--from", ".", "--quantize", "q8_0", "--draft-quantize", "q4_0").status == 0
    (body,) = server.asked("POST /api/create")
    assert sorted(body["files"]) == sorted(names)
    assert (body["quantize"], body["draft_quantize"]) == ("q8_0", "q4_0")


def test_create_from_pickled_weights_is_refused(folder: Path, actorctl: Actorctl) -> None:
    """A pickle can run code when it is read."""
    inner = folder / "inner"
    inner.mkdir()
    (inner / "pytorch_model.bin").touch()
    assert "convert them to safetensors" in actorctl("create", "m", "--from", "inner").err


def test_create_with_draft_and_adapter_sends_both(folder: Path, server: Double, actorctl: Actorctl) -> None:
    """Each file arrives under its own field; a draft that is the model itself is refused."""
    (folder / "small.gguf").write_bytes(b"GGUF small")
    (folder / "tuned.gguf").write_bytes(b"GGUF tuned")
    (folder / "Modelfile").write_text("FROM ./model.gguf\nADAPTER ./tuned.gguf\nDRAFT ./small.gguf\n")
    assert actorctl("create", "m").status == 0
    (body,) = server.asked("POST /api/create")
    assert [list(body[field]) for field in ("files", "adapters", "draft_files")] == [
        ["model.gguf"],
        ["tuned.gguf"],
        ["small.gguf"],
    ]
    (folder / "Modelfile").write_text("FROM ./model.gguf\nDRAFT ./model.gguf\n")
    assert "DRAFT must be another file" in actorctl("create", "m").err


def test_create_links_a_local_file_into_the_servers_store(
    folder: Path, server: Double, actorctl: Actorctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store is the server's own nothing is sent; a store that is not gets nothing, and loses nothing."""
    blobs = folder / "models" / "blobs"
    blobs.mkdir(parents=True)
    monkeypatch.setenv("OLLAMA_MODELS", str(folder / "models"))
    blob = blobs / _DIGEST.replace(":", "-")
    assert actorctl("create", "m", "--from", "model.gguf").status == 0
    assert server.blobs == {_DIGEST: _CONTENT}
    assert not blob.exists()

    server.blobs.clear()
    server.blob_folder = blobs
    assert "copying" not in actorctl("create", "m", "--from", "model.gguf").err
    assert server.blobs == {}
    assert blob.read_bytes() == _CONTENT
    assert [path.name for path in blobs.iterdir()] == [blob.name]

    blob.unlink()
    assert "copying" in actorctl("create", "m", "--from", "model.gguf", "--copy").err


def test_create_never_touches_a_blob_of_another_store(
    folder: Path, server: Double, actorctl: Actorctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of this machine that the server does not use keeps what it has."""
    blob = folder / "models" / "blobs" / _DIGEST.replace(":", "-")
    blob.parent.mkdir(parents=True)
    blob.write_bytes(_CONTENT)
    monkeypatch.setenv("OLLAMA_MODELS", str(folder / "models"))
    assert actorctl("create", "m", "--from", "model.gguf").status == 0
    assert server.blobs == {_DIGEST: _CONTENT}
    assert blob.read_bytes() == _CONTENT
