"""Our own `/v2`: another server of ours pulls from it and pushes to it, and whoever may not is refused."""

import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.errors import Unauthorized
from actors.settings import Settings
from registry.download.pace import Pace
from registry.progress import Progress
from registry.pull import pull
from registry.push import push
from registry.remote.challenge import parse_challenge, signed_text
from registry.remote.channel import parse_url
from registry.remote.client import Caller, Patience
from registry.remote.identity import load_identity
from registry.store import Store
from registry.transfer import Transfer
from tests.gateway.conftest import RunningGateway, running_gateway

HASTE = Patience(deadline_s=10.0, n_attempts=2, first_pause_s=0.0)


@pytest.fixture
def writable(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a server with a key of its own, and a list of keys."""
    return msgspec.structs.replace(
        settings, identity=tmp_path / "server" / "id_ed25519", registry_keys=tmp_path / "authorized_keys"
    )


@pytest.fixture
async def registry(writable: Settings, store: Store) -> AsyncIterator[RunningGateway]:
    """A gateway that serves the filled store."""
    async with running_gateway(writable, store) as gateway:
        yield gateway


def _transfer(tmp_path: Path, *, insecure: bool = True) -> Transfer:
    return Transfer(caller=Caller(identity=tmp_path / "client" / "id_ed25519", patience=HASTE), insecure=insecure)


async def _run(steps: Any) -> list[Progress]:
    return await trio.to_thread.run_sync(lambda: list(steps))


def _list_key(tmp_path: Path) -> None:
    key = load_identity(tmp_path / "client" / "id_ed25519").public_key
    (tmp_path / "authorized_keys").write_text(f"# people\nssh-ed25519 {key} me\n")


async def test_another_store_pulls_a_model_from_ours(registry: RunningGateway, store: Store, tmp_path: Path) -> None:
    """Nothing but the name is needed on one machine; manifest and weights arrive byte for byte."""
    other = Store(tmp_path / "other")
    lines = await _run(
        pull(other, f"127.0.0.1:{registry.port}/library/tiny-tools", _transfer(tmp_path, insecure=False))
    )
    assert lines[-1].status == "success"
    pulled = other.resolve(f"127.0.0.1:{registry.port}/library/tiny-tools")
    ours = store.resolve("tiny-tools")
    assert pulled.digest == ours.digest
    assert pulled.weights_path.read_bytes() == ours.weights_path.read_bytes()


async def test_bad_bytes_between_two_of_ours_are_mended(registry: RunningGateway, store: Store, tmp_path: Path) -> None:
    """What the disk of the puller spoilt before it went on is fetched again, by the sums that the other gives."""
    other = Store(tmp_path / "other")
    name = f"127.0.0.1:{registry.port}/library/tiny-tools"

    def break_off_and_spoil() -> None:
        slow = Transfer(caller=Caller(patience=HASTE), insecure=True, pace=Pace(2 << 20))
        steps = pull(other, name, slow)
        for line in steps:
            if line.completed:
                break
        steps.close()
        (incoming,) = other.blobs.folder.glob("*.incoming")
        with incoming.open("r+b") as file:
            file.write(b"spoilt")

    await trio.to_thread.run_sync(break_off_and_spoil)
    lines = await _run(pull(other, name, _transfer(tmp_path)))
    assert lines[-1].status == "success"
    assert other.resolve(name).weights_path.read_bytes() == store.resolve("tiny-tools").weights_path.read_bytes()


async def test_manifests_and_blobs_are_given_as_registries_give_them(registry: RunningGateway, store: Store) -> None:
    """By tag and by digest, whole and in ranges, with the headers that clients look for."""
    model = store.resolve("smollm2")
    client = registry.client
    assert (await client.get("/v2/")).json() == {}
    assert (await client.get("/v2/library/smollm2/tags/list")).json() == {"name": "library/smollm2", "tags": ["latest"]}
    by_tag = await client.get("/v2/library/SmolLM2/manifests/LATEST")
    assert hashlib.sha256(by_tag.content).hexdigest() == model.digest
    by_digest = await client.head(f"/v2/library/smollm2/manifests/sha256:{model.digest}")
    assert by_digest.headers["Docker-Content-Digest"] == f"sha256:{model.digest}"
    assert by_digest.headers["Content-Length"] == str(len(by_tag.content))
    content = model.weights_path.read_bytes()
    assert model.weights is not None
    path = f"/v2/library/smollm2/blobs/{model.weights.digest}"
    whole = await client.get(path)
    assert (whole.content, whole.headers["Location"]) == (content, f"http://127.0.0.1:{registry.port}{path}")
    for header, span in {
        "bytes=0-0": (0, 1),
        "bytes=5-": (5, len(content)),
        "bytes=-7": (len(content) - 7, len(content)),
        "bytes=3-99999999999": (3, len(content)),
    }.items():
        part = await client.get(path, headers={"Range": header})
        assert (part.status_code, part.content) == (206, content[slice(*span)])
        assert part.headers["Content-Range"] == f"bytes {span[0]}-{span[1] - 1}/{len(content)}"
    beyond = await client.get(path, headers={"Range": f"bytes={len(content)}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(content)}")


async def test_slash_too_many_leads_to_the_path_in_quotes(registry: RunningGateway) -> None:
    """Whatever characters a path has, they neither break the header nor become markup."""
    path = "/v2/%22%3E%3Cb%3E%00%0D%0Ax/m/manifests/t"
    answer = await registry.client.get(f"{path}/")
    assert (answer.status_code, answer.headers["Location"]) == (301, path)
    assert "<b>" not in answer.text


async def test_only_what_a_repository_names_is_given(registry: RunningGateway, store: Store) -> None:
    """A blob of another model, and one of none, are not there, and no name leads out of the store."""
    weights = store.resolve("smollm2").weights
    assert weights is not None
    secret, _ = store.blobs.add(b"uploaded by somebody, for a model to come")
    for path in (
        f"/v2/library/minilm/blobs/{weights.digest}",
        f"/v2/library/smollm2/blobs/{secret}",
        "/v2/library/nope/manifests/latest",
        "/v2/library/nope/tags/list",
        f"/v2/library/smollm2/manifests/{secret}",
    ):
        response = await registry.client.get(path)
        assert (response.status_code, response.json()["errors"][0]["code"]) == (404, "NOT_FOUND")
    for path in (
        "/v2/..%2f../x/manifests/latest",
        "/v2/library/smollm2/blobs/sha256:..",
        "/v2/library/smollm2/manifests/..%5c",
        "/v2/library/%2e%2e/manifests/latest",
    ):
        assert (await registry.client.get(path)).status_code in {400, 404}


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"host": "0.0.0.0"}, 403), ({"host": "0.0.0.0", "registry": True}, 200), ({"registry": False}, 403)],
)
async def test_serving_is_off_by_default_off_loopback(
    changes: dict[str, Any], status: int, settings: Settings, store: Store
) -> None:
    """The operator can turn it on, and off on a loopback address."""
    async with running_gateway(msgspec.structs.replace(settings, **changes), store) as gateway:
        response = await gateway.client.get("/v2/library/smollm2/manifests/latest")
    assert response.status_code == status
    if status == 403:
        assert "LLAMACTOR_REGISTRY=1" in response.json()["errors"][0]["message"]


async def test_push_with_a_listed_key_arrives(
    registry: RunningGateway, writable: Settings, tiny_gguf: Path, tmp_path: Path
) -> None:
    """A second push sends no blob; the model is there under its name."""
    _list_key(tmp_path)
    other = Store(tmp_path / "other")
    name = f"127.0.0.1:{registry.port}/ns/mine:v1"
    await _run(pull(other, str(tiny_gguf), Transfer(allows_local=True), target=name))
    lines = await _run(push(other, name, _transfer(tmp_path, insecure=False)))
    statuses = list(dict.fromkeys(line.status for line in lines))
    assert (statuses[0], statuses[-2:]) == ("retrieving manifest", ["pushing manifest", "success"])
    arrived = Store(writable.models).resolve("ns/mine:v1")
    assert arrived.digest == other.resolve(name).digest
    assert arrived.load_key == other.resolve(name).load_key
    assert not list(arrived.blobs.folder.glob("*.upload"))
    assert not list(other.blobs.folder.glob("*.outgoing"))
    lines = await _run(push(other, name, _transfer(tmp_path)))
    assert all(line.completed == line.total for line in lines)


async def test_push_without_a_listed_key_is_refused(registry: RunningGateway, tiny_gguf: Path, tmp_path: Path) -> None:
    """The stream's last line tells the key, and where to put it."""
    name = f"127.0.0.1:{registry.port}/ns/mine"
    store = Store(tmp_path / "other")
    await _run(pull(store, str(tiny_gguf), Transfer(allows_local=True), target=name))
    with pytest.raises(Unauthorized, match=r"unauthorized: .*add"):
        await _run(push(store, name, _transfer(tmp_path)))


async def test_writing_needs_a_token_for_that_repository(registry: RunningGateway, tmp_path: Path) -> None:
    """Without one, with nonsense, with one of another repository, and after its key was taken off the list."""
    _list_key(tmp_path)
    client, path = registry.client, "/v2/ns/m/blobs/uploads/"
    for authorization in ("", "Bearer x", "Bearer .", "Bearer e30=.AAAA", "Basic abc", "Bearer " + "x" * 9000):
        refused = await client.post(path, headers={"Authorization": authorization})
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith(
            f'Bearer realm="http://127.0.0.1:{registry.port}/v2/token"'
        )
    token = await _token(registry, tmp_path, "repository:ns/m:pull,push")
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.post(path, headers=headers)).status_code == 202
    assert (await client.post("/v2/ns/other/blobs/uploads/", headers=headers)).status_code == 401
    assert (await client.put("/v2/ns/other/manifests/latest", headers=headers, content=b"{}")).status_code == 401
    (tmp_path / "authorized_keys").write_text("")
    assert (await client.post(path, headers=headers)).status_code == 401


async def test_upload_session_goes_on_where_it_was(registry: RunningGateway, store: Store, tmp_path: Path) -> None:
    """Parts out of place are refused with a clear error; a wrong digest ends the session; a good one makes the blob."""
    _list_key(tmp_path)
    headers = {"Authorization": f"Bearer {await _token(registry, tmp_path, 'repository:ns/m:push')}"}
    client = registry.client
    session = (await client.post("/v2/ns/m/blobs/uploads/", headers=headers)).headers["Location"]
    part = await client.patch(session, headers={**headers, "Content-Range": "0-4"}, content=b"hello")
    assert (part.status_code, part.headers["Range"]) == (202, "0-4")
    misplaced = await client.patch(session, headers={**headers, "Content-Range": "0-4"}, content=b"hello")
    assert (misplaced.status_code, misplaced.json()["errors"][0]["code"]) == (416, "RANGE_INVALID")
    assert (await client.get(session, headers=headers)).headers["Range"] == "0-4"
    await client.patch(session, headers={**headers, "Content-Range": "5-9"}, content=b"world")
    digest = f"sha256:{hashlib.sha256(b'helloworld').hexdigest()}"
    assert (await client.put(f"{session}?digest={digest}", headers=headers)).status_code == 201
    assert store.blobs.exists(digest)
    assert (await client.get(session, headers=headers)).status_code == 404
    again = (await client.post("/v2/ns/m/blobs/uploads/", headers=headers)).headers["Location"]
    wrong = await client.put(f"{again}?digest={digest}", headers=headers, content=b"other")
    assert wrong.status_code == 400
    assert (await client.get(again, headers=headers)).status_code == 404
    for bad in ("..%2f..%2fetc", "0" * 31, "0" * 32):
        assert (await client.patch(f"/v2/ns/m/blobs/uploads/{bad}", headers=headers)).status_code == 404


async def test_manifest_with_missing_blobs_is_refused(registry: RunningGateway, store: Store, tmp_path: Path) -> None:
    """Nothing half-visible: what it names must be here; and it must be a manifest."""
    _list_key(tmp_path)
    headers = {"Authorization": f"Bearer {await _token(registry, tmp_path, 'repository:ns/m:push')}"}
    digest = "sha256:" + "0" * 64
    entry = {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": 1}
    manifest = {"schemaVersion": 2, "mediaType": "x", "config": entry, "layers": [entry]}
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    for content in (b"", b"{}", json.dumps(manifest).encode(), json.dumps(manifest | {"mediaType": docker}).encode()):
        response = await registry.client.put("/v2/ns/m/manifests/latest", headers=headers, content=content)
        assert response.status_code == 400
        assert response.json()["errors"][0]["message"]
    assert "ns/m:latest" not in {model.name.shortest for model in store.list()}


async def _token(registry: RunningGateway, tmp_path: Path, scope: str) -> str:
    """Fetch a token the way clients do."""
    base = f"http://127.0.0.1:{registry.port}"
    header = f'Bearer realm="{base}/v2/token",service="s",scope="{scope}"'
    url = parse_challenge(header, registry=parse_url(base)).url(time_s=int(time.time()), nonce="n").geturl()
    key = load_identity(tmp_path / "client" / "id_ed25519")
    response = await registry.client.get(
        url, headers={"Authorization": f"{key.public_key}:{key.signature(signed_text('GET', url))}"}
    )
    assert response.status_code == 200, response.text
    token: str = response.json()["token"]
    return token
