"""Any mixture of misbehaviour in one pull: the model as the registry has it or an error of ours, and a whole store."""

import contextlib
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.errors import LlamactorError
from registry.digests import digest_of_file
from registry.manifests import SYSTEM, WEIGHTS
from registry.pull import pull
from registry.remote.client import Caller, Patience
from registry.store import Store
from registry.transfer import Transfer
from tests.support.wild_registry import Answer, Asked, WildRegistry, wild_registry

HASTE = Patience(deadline_s=0.3, n_attempts=2, first_pause_s=0.0, longest_pause_s=0.0)
_STATUSES = [100, 199, 204, 206, 301, 304, 307, 401, 403, 404, 416, 429, 500, 503, 599, 999]
_HEADERS = {
    "Location": [
        "//evil",
        "ftp://x/",
        "http://[::1",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "",
        "http://u:p@h/",
        "/a",
    ],
    "Content-Length": ["-1", "99999999999999999999", "x", "", "0"],
    "Content-Encoding": ["gzip", "br", "GZIP, gzip"],
    "Content-Range": ["bytes 0-0/1", "bytes */3", "x", "bytes 5-1/2"],
    "WWW-Authenticate": [
        'Bearer realm="http://evil/t"',
        'Bearer realm=""',
        'Bearer realm="http://[::1"',
        "Basic x",
        "Bearer",
    ],
    "Docker-Content-Digest": ["sha256:" + "0" * 64, "x"],
    "Retry-After": ["-1", "1e9", "x", "99999999999"],
    "Transfer-Encoding": ["chunked", "gzip"],
}
_BODIES = [b"", b"[]", b"null", b"{}", b"\xff" * 10, b"{" * 1000, b"<html>"]
_Trouble = tuple[str, object]
_TROUBLES = st.one_of(
    st.just(("none", None)),
    st.just(("hang up", None)),
    st.tuples(st.just("status"), st.sampled_from(_STATUSES)),
    st.tuples(st.just("header"), st.sampled_from([(name, value) for name in _HEADERS for value in _HEADERS[name]])),
    st.tuples(st.just("cut"), st.integers(0, 1 << 20)),
    st.tuples(st.just("endless"), st.booleans()),
    st.tuples(st.just("flip"), st.integers(0, 1 << 20)),
    st.tuples(st.just("body"), st.sampled_from(_BODIES)),
)


@pytest.fixture(scope="module")
def remote() -> Iterator[WildRegistry]:
    """A registry with one model."""
    with wild_registry() as registry:
        noise = random.Random(6).randbytes((1 << 20) + 7)  # noqa: S311 - noise
        registry.add_model("ns/m:latest", (WEIGHTS, noise), (SYSTEM, b"be brief"))
        yield registry


def _with(trouble: _Trouble, answer: Answer) -> Answer | None:
    match trouble:
        case ("hang up", _):
            return None
        case ("status", int(status)):
            answer.status = status
        case ("header", (str(name), str(value))):
            answer.headers[name] = value
            answer.status = {"Location": 302, "WWW-Authenticate": 401, "Retry-After": 429}.get(name, answer.status)
        case ("cut", int(length)):
            answer.cut_after = length % (len(answer.body) + 1)
        case ("endless", _):
            answer.body, answer.is_endless = answer.body[:1000] or b"x", True
        case ("flip", int(at)) if answer.body:
            at %= len(answer.body)
            answer.body = answer.body[:at] + bytes([answer.body[at] ^ 1]) + answer.body[at + 1 :]
        case ("body", bytes(body)):
            answer.body = body
    return answer


@given(troubles=st.lists(st.lists(_TROUBLES, min_size=1, max_size=2), max_size=12), has_sums=st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_pull_of_a_wild_registry_gives_the_model_or_an_error_of_ours(
    remote: WildRegistry, tmp_path: Path, *, troubles: list[list[_Trouble]], has_sums: bool
) -> None:
    """Nothing else is raised, nothing false is in the store, nothing is written outside of it."""
    left = iter(troubles)

    def misbehave(_asked: Asked, answer: Answer) -> Answer | None:
        found: Answer | None = answer
        for trouble in next(left, []):
            found = found and _with(trouble, found)
        return found

    remote.misbehave, remote.has_sums = misbehave, has_sums
    store = Store(tmp_path / "models")
    caller = Caller(patience=HASTE, identity=tmp_path / "id_ed25519")
    with contextlib.suppress(LlamactorError):
        list(pull(store, f"{remote.host}/ns/m", Transfer(caller=caller, insecure=True)))
    for model in store.list():
        assert store.resolve(model.name.canonical).system == "be brief"
    for path in store.blobs.folder.iterdir() if store.blobs.folder.is_dir() else ():
        is_blob = path.name.startswith("sha256-") and "." not in path.name
        assert not is_blob or digest_of_file(path) == path.name.replace("-", ":")
    assert {path.name for path in tmp_path.iterdir()} <= {"models", "id_ed25519", "id_ed25519.pub"}
    shutil.rmtree(store.root, ignore_errors=True)
