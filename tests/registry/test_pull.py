"""Pulling from a registry that behaves, and from one that does not."""

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.errors import (
    DigestMismatch,
    InvalidManifest,
    InvalidName,
    InvalidRequest,
    LlamactorError,
    RegistryMisbehaved,
    RegistryRefused,
    RegistryUnreachable,
    RemoteModelNotFound,
    StoreUnwritable,
)
from registry.download.pace import Pace
from registry.manifests import CONFIG, MANIFEST, SYSTEM, TENSOR, WEIGHTS
from registry.progress import Progress
from registry.pull import pull
from registry.remote.client import Caller, Patience
from registry.store import Store
from registry.transfer import Transfer
from tests.support.wild_registry import Answer, Asked, WildRegistry, wild_registry

MEBI = 1 << 20
SIZE_BYTES = 20 * MEBI + 12_345  # three parts
HASTE = Patience(deadline_s=2.0, first_pause_s=0.0, longest_pause_s=0.0)


@pytest.fixture(scope="module")
def weights() -> bytes:
    """Bytes that stand in for a model's weights."""
    return random.Random(5).randbytes(SIZE_BYTES)  # noqa: S311 - noise, not a secret


@pytest.fixture
def remote() -> Iterator[WildRegistry]:
    """A registry that behaves until it is told otherwise."""
    with wild_registry() as registry:
        yield registry


def _transfer(tmp_path: Path, **changes: object) -> Transfer:
    settings = {"caller": Caller(identity=tmp_path / "id_ed25519", patience=HASTE), "insecure": True} | changes
    return Transfer(**settings)  # type: ignore[arg-type]  # tests change any of them


def _pull(store: Store, text: str, tmp_path: Path, **changes: object) -> list[Progress]:
    return list(pull(store, text, _transfer(tmp_path, **changes)))


def _is_clean(store: Store) -> bool:
    """Nothing is visible, nothing is left in transit."""
    names = {path.name for path in store.blobs.folder.iterdir()} if store.blobs.folder.exists() else set()
    return not store.list() and not any("incoming" in name for name in names)


def test_pull_brings_a_model_with_all_its_layers(
    store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """Lines come in the known order, counts never fall, and the manifest is stored byte for byte."""
    digest = remote.add_model("ns/m:v1", (WEIGHTS, weights), (SYSTEM, b"be brief"))
    lines = _pull(store, f"{remote.host}/ns/m:v1", tmp_path)
    statuses = list(dict.fromkeys(line.status for line in lines))
    assert statuses[0] == "pulling manifest"
    assert statuses[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    counts = [line.completed for line in lines if line.total == SIZE_BYTES]
    assert counts == sorted(counts)
    assert counts[-1] == SIZE_BYTES
    model = store.resolve(f"{remote.host}/ns/m:v1")
    assert (f"sha256:{model.digest}", model.system) == (digest, "be brief")
    assert model.weights_path.read_bytes() == weights
    assert remote.sent_bytes("/blobs/") == SIZE_BYTES + len(b"be brief") + len(b'{"model_format":"gguf"}')


def test_pull_of_what_is_here_fetches_the_manifest_alone(
    store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """Each blob gives one full line."""
    remote.add_weights("ns/m:latest", weights)
    _pull(store, f"{remote.host}/ns/m", tmp_path)
    remote.sent.clear()
    lines = _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert remote.sent_bytes("/blobs/") == 0
    assert (SIZE_BYTES, SIZE_BYTES) in {(line.total, line.completed) for line in lines}


def test_pull_that_ends_early_goes_on_to_the_byte(
    store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """What a closed generator left is not fetched again, whatever place it was closed at."""
    remote.add_weights("ns/m:latest", weights)
    remote.misbehave = lambda _asked, answer: answer
    transfer = _transfer(tmp_path, pace=Pace(30 * MEBI))
    steps = pull(store, f"{remote.host}/ns/m", transfer)
    for line in steps:
        if line.completed > 6 * MEBI:
            break
    steps.close()
    record = next(path for path in store.blobs.folder.iterdir() if path.name.endswith(".parts"))
    recorded = sum(
        int.from_bytes(record.read_bytes()[at : at + 8], "little") for at in range(64, record.stat().st_size, 8)
    )
    assert 6 * MEBI < recorded < SIZE_BYTES
    remote.requests.clear()
    _pull(store, f"{remote.host}/ns/m", tmp_path)
    asked = [span for request in remote.requests if request.is_for("blobs") and (span := request.range)]
    assert sum(last + 1 - first for first, last in asked) == SIZE_BYTES - recorded
    assert store.resolve(f"{remote.host}/ns/m").weights_path.read_bytes() == weights


def test_pull_asks_again_for_what_was_cut_and_only_for_that(
    store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """Connections that break off cost the bytes that they did not bring."""
    remote.add_weights("ns/m:latest", weights)

    def cut(asked: Asked, answer: Answer) -> Answer:
        if asked.range and asked.number % 2:
            answer.cut_after = 3 * MEBI
        return answer

    remote.misbehave = cut
    _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert remote.sent_bytes("/blobs/") == SIZE_BYTES + len(b'{"model_format":"gguf"}')


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_pull_outlasts_passing_refusals(
    status: int, store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """Every request but each third is refused, manifest and small blobs included."""
    remote.add_weights("ns/m:latest", weights)
    remote.misbehave = lambda asked, answer: (
        answer if asked.number % 3 == 2 else Answer(status, {"Retry-After": "0"}, b"later")
    )
    _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert store.resolve(f"{remote.host}/ns/m").weights_path.read_bytes() == weights


def test_pull_gives_up_a_registry_that_only_refuses(
    store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """The attempts end, with the status in the error."""
    remote.add_weights("ns/m:latest", weights)
    remote.misbehave = lambda asked, answer: answer if asked.is_for("manifests") else Answer(503, {}, b"never")
    with pytest.raises(RegistryRefused, match="503: never"):
        _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert len(remote.requests) <= 1 + 4 * HASTE.n_attempts
    assert not store.list()


def test_pull_from_a_server_without_ranges_takes_the_whole(
    store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """One connection brings it; when it is cut, what came is passed by the second time."""
    remote.add_weights("ns/m:latest", weights)
    remote.has_ranges = False
    seen: list[Asked] = []

    def cut_first(asked: Asked, answer: Answer) -> Answer:
        if asked.is_for("blobs") and not seen:
            seen.append(asked)
            answer.cut_after = 9 * MEBI
        return answer

    remote.misbehave = cut_first
    _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert store.resolve(f"{remote.host}/ns/m").weights_path.read_bytes() == weights


def test_pull_notices_a_stall_and_asks_again(
    store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """A connection on which nothing comes any more is left, with what it had brought."""
    remote.add_weights("ns/m:latest", weights)
    stalled: list[Asked] = []

    def stall_once(asked: Asked, answer: Answer) -> Answer:
        if asked.range and not stalled:
            stalled.append(asked)
            answer.headers["Content-Length"] = str(len(answer.body))
            answer.body = answer.body[:MEBI]
        return answer

    remote.misbehave = stall_once
    caller = Caller(patience=Patience(deadline_s=0.3, first_pause_s=0.0))
    _pull(store, f"{remote.host}/ns/m", tmp_path, caller=caller)
    assert remote.sent_bytes("/blobs/") == SIZE_BYTES + len(b'{"model_format":"gguf"}')


def test_pull_of_corrupt_bytes_is_refused_and_leaves_nothing(
    store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """The error is the one that clients know."""
    remote.add_weights("ns/m:latest", weights)

    def flip(asked: Asked, answer: Answer) -> Answer:
        if asked.range and asked.range[0] == 0:
            answer.body = b"X" + answer.body[1:]
        return answer

    remote.misbehave = flip
    with pytest.raises(DigestMismatch, match="digest mismatch, file must be downloaded again: want sha256:"):
        _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert _is_clean(store)


def test_pull_mends_bad_ranges_where_the_registry_has_sums(
    store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """Of a file with two bad ranges, those two are fetched again."""
    remote.add_weights("ns/m:latest", weights)
    remote.has_sums = True
    bad: list[int] = []

    def flip(asked: Asked, answer: Answer) -> Answer:
        if asked.range and asked.range[0] % (8 * MEBI) == 0 and len(bad) < 2:
            bad.append(asked.range[0])
            answer.body = b"X" + answer.body[1:]
        return answer

    remote.misbehave = flip
    _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert store.resolve(f"{remote.host}/ns/m").weights_path.read_bytes() == weights
    assert remote.sent_bytes("/blobs/") == SIZE_BYTES + 2 * MEBI + len(b'{"model_format":"gguf"}')


def test_pull_mends_over_a_line_that_breaks(store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path) -> None:
    """A cut, a wrong range again and a refusal in the middle of mending cost only themselves."""
    remote.add_weights("ns/m:latest", weights)
    remote.has_sums = True
    troubles = iter(["cut", "flip", "refuse"])

    def misbehave(asked: Asked, answer: Answer) -> Answer:
        if asked.range and asked.range[0] == 0:
            is_first = asked.range[1] > MEBI
            match "flip" if is_first else next(troubles, ""):
                case "flip":
                    answer.body = b"X" + answer.body[1:]
                case "cut":
                    answer.cut_after = 1000
                case "refuse":
                    return Answer(503, {"Retry-After": "0"}, b"later")
        return answer

    remote.misbehave = misbehave
    _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert store.resolve(f"{remote.host}/ns/m").weights_path.read_bytes() == weights
    assert next(troubles, None) is None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"status": 206, "headers": {"Content-Range": "bytes 5-9/10"}}, RegistryMisbehaved),
        ({"headers": {"Content-Range": "nonsense"}}, RegistryMisbehaved),
        ({"headers": {"Content-Encoding": "gzip"}}, RegistryMisbehaved),
        ({"status": 200, "headers": {}, "body": b"short"}, RegistryMisbehaved),
        ({"status": 200, "headers": {}, "is_endless": True, "body": b"x" * MEBI}, DigestMismatch),
        ({"status": 403}, RegistryRefused),
        ({"status": 404}, RemoteModelNotFound),
    ],
)
def test_pull_refuses_what_breaks_the_protocol(  # noqa: PLR0917 - fixtures and parameters
    change: dict[str, object],
    error: type[LlamactorError],
    store: Store,
    remote: WildRegistry,
    weights: bytes,
    tmp_path: Path,
) -> None:
    """Other ranges than asked for, compression, endless bodies: an error, no model, no more than the file's bytes."""
    remote.add_weights("ns/m:latest", weights)

    def misbehave(asked: Asked, answer: Answer) -> Answer:
        if asked.range:
            for name, value in change.items():
                setattr(answer, name, value)
        return answer

    remote.misbehave = misbehave
    with pytest.raises(error):
        _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert not store.list()
    assert all(path.stat().st_size <= SIZE_BYTES for path in store.blobs.folder.iterdir())


def _manifest(**changes: object) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    layer = {"mediaType": WEIGHTS, "digest": digest, "size": 1}
    config = {"mediaType": CONFIG, "digest": digest, "size": 1}
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]} | changes


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"config":' * 50_000,
        _manifest(layers=[]),
        _manifest(mediaType="application/vnd.docker.distribution.manifest.list.v2+json"),
        _manifest(layers=[{"mediaType": WEIGHTS, "digest": "sha256:../../../../etc/passwd", "size": 1}]),
        _manifest(layers=[{"mediaType": WEIGHTS, "digest": "sha256:" + "0" * 63, "size": 1}]),
        _manifest(layers=[{"mediaType": WEIGHTS, "digest": "sha256:" + "0" * 64, "size": -1}]),
        _manifest(layers=[{"mediaType": WEIGHTS, "digest": "sha256:" + "0" * 64, "size": 1 << 62}]),
        _manifest(layers=[{"mediaType": SYSTEM, "digest": "sha256:" + "0" * 64, "size": 1 << 30}]),
        _manifest(layers=[{"mediaType": WEIGHTS, "digest": "sha256:" + "0" * 64, "size": size} for size in (1, 2)]),
    ],
)
def test_pull_refuses_hostile_manifests(manifest: object, store: Store, remote: WildRegistry, tmp_path: Path) -> None:
    """Empty, nested, huge, contradictory or pointing elsewhere: refused before any blob is asked for."""
    remote.add_manifest("ns/m:latest", manifest)
    with pytest.raises(InvalidManifest, match=r"^pull model manifest: "):
        _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert not any(request.is_for("blobs") for request in remote.requests)
    assert _is_clean(store)


def test_pull_refuses_a_manifest_without_end(store: Store, remote: WildRegistry, tmp_path: Path) -> None:
    """Reading stops at the bound."""
    remote.add_manifest("ns/m:latest", b" " * MEBI)
    remote.misbehave = lambda _asked, answer: Answer(200, {}, answer.body, is_endless=True)
    with pytest.raises(RegistryMisbehaved, match="more than 4194304 bytes"):
        _pull(store, f"{remote.host}/ns/m", tmp_path)


def test_pull_refuses_a_manifest_that_is_not_the_announced_one(
    store: Store, remote: WildRegistry, tmp_path: Path
) -> None:
    """The digest in the head must be the body's."""
    remote.add_weights("ns/m:latest", b"x")
    remote.misbehave = lambda _asked, answer: Answer(200, {"Docker-Content-Digest": "sha256:" + "0" * 64}, answer.body)
    with pytest.raises(InvalidManifest, match="announced"):
        _pull(store, f"{remote.host}/ns/m", tmp_path)


def test_pull_refuses_a_model_of_single_tensors_before_fetching_any(
    store: Store, remote: WildRegistry, tmp_path: Path
) -> None:
    """Models for MLX are gigabytes that nothing here could load."""
    remote.add_model("ns/m:latest", (TENSOR, b"x" * 100))
    with pytest.raises(InvalidManifest, match="pull a GGUF of it"):
        _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert remote.sent_bytes("/blobs/") == 0


def test_pull_refuses_a_small_blob_with_other_bytes(store: Store, remote: WildRegistry, tmp_path: Path) -> None:
    """A text layer is verified before it is stored."""
    remote.add_model("ns/m:latest", (SYSTEM, b"be kind"))
    remote.misbehave = lambda asked, answer: (
        Answer(200, {}, b"be evil") if asked.is_for("blobs") and answer.body == b"be kind" else answer
    )
    with pytest.raises(DigestMismatch):
        _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert _is_clean(store)


def test_failed_pull_leaves_the_model_that_was_there(
    store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path
) -> None:
    """The old version is whole and usable until the new one is."""
    remote.add_model("ns/m:latest", (WEIGHTS, weights), (SYSTEM, b"old"))
    _pull(store, f"{remote.host}/ns/m", tmp_path)
    remote.add_model("ns/m:latest", (WEIGHTS, weights[::-1]), (SYSTEM, b"new"))
    remote.misbehave = lambda asked, answer: None if asked.is_for("blobs") else answer
    with pytest.raises(RegistryUnreachable):
        _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert store.resolve(f"{remote.host}/ns/m").system == "old"
    remote.misbehave = None
    lines = _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert "removing unused layers" in {line.status for line in lines}
    assert store.resolve(f"{remote.host}/ns/m").system == "new"


def test_pull_of_a_missing_model_says_so(store: Store, remote: WildRegistry, tmp_path: Path) -> None:
    """The text is the one that clients know."""
    with pytest.raises(RemoteModelNotFound, match=r"^pull model manifest: file does not exist$"):
        _pull(store, f"{remote.host}/ns/m", tmp_path)


def test_pull_from_nowhere_tells_address_and_reason(store: Store, tmp_path: Path) -> None:
    """Nothing listens there: told at once, in the words that users know."""
    expected = (
        'pull model manifest: Get "http://127.0.0.1:9/v2/library/x/manifests/latest": '
        "dial tcp 127.0.0.1:9: connect: connection refused"
    )
    with pytest.raises(RegistryUnreachable) as caught:
        _pull(store, "127.0.0.1:9/library/x", tmp_path)
    assert caught.value.message == expected


def test_pull_over_tls_of_a_plain_registry_on_this_machine_goes_on_without(
    store: Store, remote: WildRegistry, tmp_path: Path
) -> None:
    """A loopback registry that answers without TLS is asked so, and the stream says it."""
    remote.add_weights("ns/m:latest", b"x" * 100)
    lines = _pull(store, f"{remote.host}/ns/m", tmp_path, insecure=False)
    assert any("plain HTTP" in line.status for line in lines)
    assert store.resolve(f"{remote.host}/ns/m")


def test_pull_at_a_pace_is_no_faster(store: Store, remote: WildRegistry, weights: bytes, tmp_path: Path) -> None:
    """Twenty megabytes at fifteen per second are reported in many steps."""
    remote.add_weights("ns/m:latest", weights)
    lines = _pull(store, f"{remote.host}/ns/m", tmp_path, pace=Pace(15 * MEBI))
    assert len({line.completed for line in lines if line.total == SIZE_BYTES}) >= 4


@pytest.mark.parametrize("text", ["", "../x", "a/b/c/d/e", "x:", "/model", "a b", "x@sha256:00"])
def test_pull_refuses_what_is_no_name(text: str, store: Store, tmp_path: Path) -> None:
    """The call itself raises, before any line."""
    with pytest.raises(InvalidName):
        pull(store, text, _transfer(tmp_path))


def test_pull_refuses_local_files_and_plain_urls_unless_allowed(store: Store, tmp_path: Path) -> None:
    """Both errors name the remedy."""
    with pytest.raises(InvalidRequest, match="actorctl create"):
        pull(store, "/etc/x.gguf", _transfer(tmp_path))
    with pytest.raises(InvalidRequest, match="--insecure"):
        pull(store, "http://example.org/x.gguf", _transfer(tmp_path, insecure=False))


def test_pull_tells_a_full_disk_before_it_begins(store: Store, remote: WildRegistry, tmp_path: Path) -> None:
    """More than the disk holds is refused with both figures."""
    status = os.statvfs(tmp_path)
    size = status.f_bavail * status.f_frsize + (1 << 40)
    layer = {"mediaType": WEIGHTS, "digest": "sha256:" + "0" * 64, "size": size}
    remote.add_manifest("ns/m:latest", _manifest(layers=[layer]))
    with pytest.raises(StoreUnwritable, match=r"GB are needed and .* GB are free"):
        _pull(store, f"{remote.host}/ns/m", tmp_path)
    assert _is_clean(store)
