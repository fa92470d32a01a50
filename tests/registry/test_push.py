"""Pushing to a registry that behaves, and to one that does not."""

import random
import threading
from collections.abc import Iterator

import pytest

from actors.errors import InvalidName, ModelNotFound, RegistryMisbehaved, RegistryRefused, RegistryUnreachable
from registry import outgoing
from registry.download.pace import Pace
from registry.manifests import SYSTEM, WEIGHTS
from registry.progress import Progress
from registry.pull import pull
from registry.push import push
from registry.remote.client import Caller, Patience
from registry.store import Store
from registry.transfer import Transfer
from tests.support.wild_registry import Answer, Asked, WildRegistry, wild_registry

MEBI = 1 << 20
SIZE_BYTES = 5 * MEBI + 77
HASTE = Patience(deadline_s=2.0, n_attempts=3, first_pause_s=0.0, longest_pause_s=0.0)


@pytest.fixture
def remote() -> Iterator[WildRegistry]:
    """An empty registry."""
    with wild_registry() as registry:
        yield registry


@pytest.fixture
def model(store: Store, remote: WildRegistry, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model in the store whose name leads to the registry, which does not have it; parts are of 2 MiB."""
    monkeypatch.setattr(outgoing, "_PART_BYTES", 2 * MEBI)
    noise = random.Random(4).randbytes(SIZE_BYTES)  # noqa: S311 - noise
    with wild_registry() as origin:
        origin.add_model("ns/m:v1", (WEIGHTS, noise), (SYSTEM, b"be brief"))
        list(pull(store, f"{origin.host}/ns/m:v1", _transfer()))
        source = f"{origin.host}/ns/m:v1"
    store.copy(source, f"{remote.host}/ns/m:v1")
    store.delete(source)
    return f"{remote.host}/ns/m:v1"


def _transfer() -> Transfer:
    return Transfer(caller=Caller(patience=HASTE), insecure=True)


def _push(store: Store, name: str) -> list[Progress]:
    return list(push(store, name, _transfer()))


def _parts(remote: WildRegistry) -> list[str]:
    return [asked.headers["content-range"] for asked in remote.requests if asked.method == "PATCH"]


def test_push_sends_blobs_in_parts_then_the_manifest(store: Store, remote: WildRegistry, model: str) -> None:
    """Lines come in the known order, and what arrived is what was sent."""
    lines = _push(store, model)
    statuses = list(dict.fromkeys(line.status for line in lines))
    assert statuses[0] == "retrieving manifest"
    assert statuses[-2:] == ["pushing manifest", "success"]
    counts = [line.completed for line in lines if line.total == SIZE_BYTES]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, SIZE_BYTES)
    installed = store.resolve(model)
    assert remote.manifests["ns/m:v1"] == (store.manifests / installed.name.path).read_bytes()
    assert set(remote.blobs) == installed.manifest.digests()
    assert [asked for asked in remote.requests if asked.method == "PUT"][-1].path == "/v2/ns/m/manifests/v1"
    assert not list(store.blobs.folder.glob("*.outgoing"))


def test_push_tells_how_far_it_is_within_a_part(store: Store, model: str) -> None:
    """A part can take a minute over a slow line, in which a bar must not stand still."""
    lines = list(push(store, model, Transfer(caller=Caller(patience=HASTE), pace=Pace(4 * MEBI), insecure=True)))
    counts = [line.completed for line in lines if line.total == SIZE_BYTES]
    assert counts == sorted(counts)
    assert len({count for count in counts if 0 < count < 2 * MEBI}) >= 2


def test_push_that_its_client_leaves_ends_within_a_part(store: Store, remote: WildRegistry, model: str) -> None:
    """Closing the generator ends the thread that sends, and the next push goes on."""
    transfer = Transfer(caller=Caller(patience=HASTE), pace=Pace(4 * MEBI), insecure=True)
    steps = push(store, model, transfer)
    for line in steps:
        if 0 < line.completed < line.total:
            break
    steps.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "push"]
    _push(store, model)
    assert set(remote.blobs) == store.resolve(model).manifest.digests()


def test_push_goes_on_after_a_part_that_was_refused(store: Store, remote: WildRegistry, model: str) -> None:
    """Passing refusals cost their own part, whether the body was read or not."""
    refused: list[Asked] = []

    def refuse(asked: Asked) -> Answer | None:
        if asked.method == "PATCH" and len(refused) < 2:
            refused.append(asked)
            return Answer(503, {"Retry-After": "0"}, b"later")
        return None

    remote.refuse = refuse
    _push(store, model)
    assert set(remote.blobs) == store.resolve(model).manifest.digests()


def test_push_that_broke_off_goes_on_in_its_session(store: Store, remote: WildRegistry, model: str) -> None:
    """A later push asks the registry how much it has, and sends the rest."""
    remote.refuse = lambda asked: (
        Answer(400, {}, b"no") if asked.headers.get("content-range", "").startswith(f"{4 * MEBI}-") else None
    )
    with pytest.raises(RegistryRefused, match="400: no"):
        _push(store, model)
    assert len(list(store.blobs.folder.glob("*.outgoing"))) == 1
    remote.refuse = None
    remote.requests.clear()
    _push(store, model)
    assert _parts(remote)[0] == f"{4 * MEBI}-{SIZE_BYTES - 1}"
    assert set(remote.blobs) == store.resolve(model).manifest.digests()


def test_push_whose_session_took_half_a_part_sends_the_other_half(
    store: Store, remote: WildRegistry, model: str
) -> None:
    """The registry's word counts, not ours."""
    cut: list[Asked] = []

    def cut_once(asked: Asked, answer: Answer) -> Answer | None:
        if asked.method == "PATCH" and not cut:
            cut.append(asked)
            del remote.uploads["s0"][MEBI:]
            return None
        return answer

    remote.misbehave = cut_once
    _push(store, model)
    assert _parts(remote)[1] == f"{MEBI}-{3 * MEBI - 1}"
    assert set(remote.blobs) == store.resolve(model).manifest.digests()


def test_push_with_a_lost_session_begins_anew(store: Store, remote: WildRegistry, model: str) -> None:
    """What the registry has forgotten is sent again from the start."""
    remote.refuse = lambda asked: (
        Answer(400, {}, b"no") if asked.headers.get("content-range", "").startswith(f"{4 * MEBI}-") else None
    )
    with pytest.raises(RegistryRefused):
        _push(store, model)
    remote.refuse = None
    remote.uploads.clear()
    _push(store, model)
    assert set(remote.blobs) == store.resolve(model).manifest.digests()


class _Storage(WildRegistry):
    """What lies behind a registry: it takes whatever is put there."""

    def take(self, asked: Asked, body: bytes) -> Answer:
        """Append the body."""
        del asked
        self.files["all"] = self.files.get("all", b"") + body
        return Answer(200)


def test_part_that_is_redirected_is_put_there_without_the_token(store: Store, remote: WildRegistry, model: str) -> None:
    """Storage behind a registry takes the body; the registry's own header gives the next address."""
    with wild_registry(_Storage()) as storage:

        def redirect(asked: Asked, answer: Answer) -> Answer:
            if asked.method == "PATCH":
                next_part = {"Docker-Upload-Location": answer.headers["Location"]}
                return Answer(307, next_part | {"Location": f"http://{storage.host}/part"})
            return answer

        remote.misbehave = redirect
        _push(store, model)
    assert storage.files["all"].startswith(store.resolve(model).weights_path.read_bytes())
    assert {asked.method for asked in storage.requests} == {"PUT"}
    assert not any("authorization" in asked.headers for asked in storage.requests)


def test_push_without_an_upload_address_is_refused(store: Store, remote: WildRegistry, model: str) -> None:
    """The registry breaks the protocol, and the error says how."""
    remote.misbehave = lambda asked, answer: Answer(202) if asked.method == "POST" else answer
    with pytest.raises(RegistryMisbehaved, match="without the address of an upload"):
        _push(store, model)


def test_push_gives_up_a_registry_that_is_gone(store: Store, remote: WildRegistry, model: str) -> None:
    """Attempts end."""
    remote.misbehave = lambda asked, answer: None if asked.method == "PATCH" else answer
    with pytest.raises(RegistryUnreachable):
        _push(store, model)
    assert len(_parts(remote)) <= 2 * HASTE.n_attempts


def test_push_of_what_is_not_here_is_told(store: Store) -> None:
    """A wrong name at once, a missing model in the stream."""
    with pytest.raises(InvalidName):
        push(store, "../x", _transfer())
    steps = push(store, "nope", _transfer())
    assert [next(steps).status, next(steps).status] == ["retrieving manifest", "couldn't retrieve manifest"]
    with pytest.raises(ModelNotFound, match="model 'nope:latest' not found"):
        next(steps)
