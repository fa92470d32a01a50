"""Pulling GGUF files from URLs and from this machine."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.errors import AddressForbidden, InvalidGguf, InvalidRequest, RegistryMisbehaved, RemoteModelNotFound
from registry import hub
from registry.progress import Progress
from registry.pull import pull
from registry.remote.client import Caller, Patience
from registry.store import Store
from registry.transfer import Transfer
from tests.registry.test_split import ROWS, write_shards
from tests.support.wild_registry import Answer, Asked, WildRegistry, wild_registry

HASTE = Patience(deadline_s=2.0, n_attempts=2, first_pause_s=0.0, longest_pause_s=0.0)


@pytest.fixture
def remote() -> Iterator[WildRegistry]:
    """A web server."""
    with wild_registry() as registry:
        yield registry


def _pull(store: Store, text: str, *, target: str = "") -> list[Progress]:
    transfer = Transfer(caller=Caller(patience=HASTE), insecure=True, allows_local=True)
    return list(pull(store, text, transfer, target=target))


def test_pull_of_a_url_makes_a_model_named_after_the_file(store: Store, remote: WildRegistry, tiny_gguf: Path) -> None:
    """A second pull of the unchanged file fetches none of it."""
    remote.files["/x/tiny model.Q8_0.gguf"] = remote.files["/x/tiny%20model.Q8_0.gguf"] = tiny_gguf.read_bytes()
    url = f"http://{remote.host}/x/tiny%20model.Q8_0.gguf?token=secret"
    statuses = [line.status for line in _pull(store, url)]
    assert statuses[0] == "pulling tiny model.Q8_0.gguf"
    assert statuses[-1] == "success"
    model = store.resolve("tiny-model.Q8_0")
    assert model.weights_path.read_bytes() == tiny_gguf.read_bytes()
    remote.sent.clear()
    _pull(store, url, target="again")
    assert remote.sent_bytes("gguf") == 4
    assert store.resolve("again").load_key == model.load_key


def test_pull_of_a_url_that_changes_meanwhile_begins_anew(store: Store, remote: WildRegistry, tiny_gguf: Path) -> None:
    """Bytes of two versions are never mixed: the old ones are not asked for to be continued."""
    content = tiny_gguf.read_bytes()
    remote.files["/m.gguf"] = content[:-1] + b"X"
    cut: list[Asked] = []

    def break_off(asked: Asked, answer: Answer) -> Answer | None:
        if asked.range and asked.range[1] > 3:
            cut.append(asked)
            answer.cut_after = 1 << 20
        return answer

    remote.misbehave = break_off
    steps = pull(store, f"http://{remote.host}/m.gguf", Transfer(caller=Caller(patience=HASTE), insecure=True))
    for line in steps:
        if line.completed:
            break
    steps.close()
    remote.misbehave = None
    remote.files["/m.gguf"] = content
    _pull(store, f"http://{remote.host}/m.gguf")
    assert store.resolve("m").weights_path.read_bytes() == content


def test_pull_of_a_split_url_fetches_all_shards(store: Store, remote: WildRegistry, tmp_path: Path) -> None:
    """The first file's name stands for all; only the joined file stays."""
    for path in write_shards(tmp_path):
        remote.files[f"/{path.name}"] = path.read_bytes()
    _pull(store, f"http://{remote.host}/m-00001-of-00003.gguf")
    model = store.resolve("m")
    assert [tensor.name for tensor in store.gguf(model).tensors] == list(ROWS)
    kept = [path.name for path in store.blobs.folder.iterdir() if path.name.startswith("sha256-")]
    assert len(kept) == 2
    with pytest.raises(InvalidRequest, match="first file"):
        _pull(store, f"http://{remote.host}/m-00002-of-00003.gguf")


def test_pull_of_a_split_model_that_the_hub_refuses_fetches_its_files(
    store: Store, remote: WildRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hugging Face's registry does not give split models; its list of files does, and the name stays what was asked."""
    monkeypatch.setattr(hub, "_HOSTS", {remote.host})
    paths = ["README.md"]
    for path in write_shards(tmp_path):
        paths.append(f"Q4_K_M/{path.name.replace('m-', 'm-Q4_K_M-')}")
        remote.files[f"/ns/m/resolve/main/{paths[-1]}"] = path.read_bytes()
    remote.files["/api/models/ns/m/tree/main"] = json.dumps([{"type": "file", "path": path} for path in paths]).encode()
    refused = Answer(400, {}, b'{"error":"The specified tag is a sharded GGUF. Ollama does not support this yet."}')
    remote.misbehave = lambda asked, answer: refused if asked.is_for("manifests") else answer
    for tag in ("q4_k_m", "latest"):
        assert _pull(store, f"{remote.host}/ns/m:{tag}")[-1].status == "success"
        model = store.resolve(f"{remote.host}/ns/m:{tag}")
        assert [tensor.name for tensor in store.gguf(model).tensors] == list(ROWS)
    with pytest.raises(InvalidRequest, match=r"no split model Q4_K at the Hub; split models there: m-Q4_K_M-00001-of"):
        _pull(store, f"{remote.host}/ns/m:Q4_K")
    remote.files["/api/models/ns/m/tree/main"] = b"<html>"
    with pytest.raises(RegistryMisbehaved, match="without a list of the files of ns/m"):
        _pull(store, f"{remote.host}/ns/m:Q4_K_M")


def test_first_shard_is_the_plainest_with_the_tag_as_a_word() -> None:
    """Relatives of a quantization are others, and shards behind the first are none."""
    paths = [f"{q}/m-{q}-0000{n}-of-00002.gguf" for q in ("UD-Q4_K_M", "Q4_K_M", "Q8_0") for n in (1, 2)]
    assert hub.first_shard(paths, "Q4_K_M") == "Q4_K_M/m-Q4_K_M-00001-of-00002.gguf"
    assert hub.first_shard(paths, "ud-q4_k_m") == "UD-Q4_K_M/m-UD-Q4_K_M-00001-of-00002.gguf"
    assert hub.first_shard(paths[4:], "latest") == "Q8_0/m-Q8_0-00001-of-00002.gguf"
    for tag in ("Q4", "Q4_K", "K_M", ".*"):
        with pytest.raises(InvalidRequest):
            hub.first_shard(paths, tag)


def test_pull_of_a_url_that_is_no_gguf_is_refused_after_four_bytes(store: Store, remote: WildRegistry) -> None:
    """A large file of another kind is not fetched."""
    remote.files["/m.gguf"] = b"<html>" * 1_000_000
    with pytest.raises(InvalidGguf, match=r"m\.gguf is no GGUF file"):
        _pull(store, f"http://{remote.host}/m.gguf")
    assert remote.sent_bytes("gguf") == 4
    with pytest.raises(RemoteModelNotFound):
        _pull(store, f"http://{remote.host}/other.gguf")


def test_pull_of_a_damaged_file_leaves_nothing(store: Store, remote: WildRegistry, tiny_gguf: Path) -> None:
    """What does not become a model does not stay as a blob."""
    remote.files["/m.gguf"] = tiny_gguf.read_bytes()[:100_000]
    with pytest.raises(InvalidGguf, match="cut short"):
        _pull(store, f"http://{remote.host}/m.gguf")
    assert not [path for path in store.blobs.folder.iterdir() if path.name.startswith("sha256-")]


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/x",
        "http://192.168.1.1/",
        "http://[::1]/x",
        "http://[fe80::1]/x",
        "http://[::ffff:10.0.0.1]/x",
        "http://[64:ff9b::a00:1]/x",
        "http://0.0.0.0/x",
        "http://127.1.2.3/x",
    ],
)
def test_redirect_to_an_address_that_is_not_public_is_refused(
    location: str, store: Store, remote: WildRegistry
) -> None:
    """Nothing is asked there, whatever form the address is written in."""
    remote.misbehave = lambda _asked, _answer: Answer(302, {"Location": location})
    with pytest.raises(AddressForbidden, match="may not be asked"):
        _pull(store, f"http://{remote.host}/m.gguf")


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://example.org/x", "http://u:p@example.org/", "x y", "http://[::1", "http://h:x"],
)
def test_redirect_to_something_else_is_refused(location: str, store: Store, remote: WildRegistry) -> None:
    """Only http and https without a user name are followed."""
    remote.misbehave = lambda _asked, _answer: Answer(302, {"Location": location})
    with pytest.raises(RegistryMisbehaved, match="is no http or https URL"):
        _pull(store, f"http://{remote.host}/m.gguf")


def test_endless_redirects_are_given_up(store: Store, remote: WildRegistry) -> None:
    """The eleventh is one too many."""
    remote.misbehave = lambda asked, _answer: Answer(302, {"Location": f"/{asked.number}.gguf"})
    with pytest.raises(RegistryMisbehaved, match="redirects more than 10 times"):
        _pull(store, f"http://{remote.host}/m.gguf")
    assert len(remote.requests) == 11


def test_pull_of_a_local_file_copies_it(store: Store, tiny_gguf: Path, tmp_path: Path) -> None:
    """The file stays as it is, and a later change of it does not reach the store."""
    path = tmp_path / "Mine.gguf"
    path.write_bytes(tiny_gguf.read_bytes())
    _pull(store, str(path))
    path.write_bytes(b"changed")
    assert store.resolve("mine").weights_path.read_bytes() == tiny_gguf.read_bytes()


def test_pull_of_what_is_no_readable_gguf_here_is_refused(store: Store, tmp_path: Path) -> None:
    """An absent file, a folder, a pipe without a writer, another kind of file."""
    (tmp_path / "folder.gguf").mkdir()
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "text.gguf").write_bytes(b"root:x:0:0")
    for name, error in {
        "absent": InvalidRequest,
        "folder": InvalidRequest,
        "pipe": InvalidRequest,
        "text": InvalidGguf,
    }.items():
        with pytest.raises(error, match=name):
            _pull(store, str(tmp_path / f"{name}.gguf"))
    assert not store.list()
