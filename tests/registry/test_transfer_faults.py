"""Transfers that are killed, that share one store, or that fill the disk: the store stays whole and usable."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.download.incoming import claim, progress_of
from registry.manifests import WEIGHTS
from registry.pull import pull
from registry.remote.client import Caller, Patience
from registry.store import Store
from registry.transfer import Transfer
from tests.registry.conftest import REPOSITORY
from tests.support.wild_registry import WildRegistry, slowly, wild_registry

pytestmark = pytest.mark.processes

MEBI = 1 << 20
SIZE_BYTES = 20 * MEBI
CONFIG_BYTES = len(b'{"model_format":"gguf"}')
_PULL = """
import pathlib, sys
from registry.pull import pull
from registry.store import Store
from registry.transfer import Transfer
store = Store(pathlib.Path(sys.argv[1]))
for line in pull(store, sys.argv[2], Transfer(insecure=True)):
    print(line.completed, flush=True)
"""
_FILL = """
import os, pathlib, sys
from actors.errors import StoreUnwritable
from registry.create import CreateRequest, create
from registry.download.incoming import progress_of
from registry.pull import pull
from registry.store import Store
from registry.transfer import Transfer

store, kept, name = Store(pathlib.Path("/mnt/models")), pathlib.Path(sys.argv[1]), sys.argv[2]
SIZE_BYTES = int(sys.argv[3])
filler = pathlib.Path("/mnt/filler")


def fill():
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass


def refused(call):
    try:
        call()
    except StoreUnwritable as error:
        print("refused", error)


def pull_while_the_disk_fills():
    for line in pull(store, name, Transfer(insecure=True)):
        if line.completed > SIZE_BYTES // 4 and not filler.exists():
            fill()


def upload():
    with store.blobs.writer() as writer:
        writer.write(bytes(1 << 20))


def make(target, text):
    list(create(store, CreateRequest(model=target, source="kept", system=text * 100_000)))


digest = store.blobs.add_file(kept)
list(create(store, CreateRequest(model="kept", files={"kept.gguf": digest})))
refused(pull_while_the_disk_fills)
refused(upload)
refused(lambda: make("other", "x"))
refused(lambda: make("kept", "y"))
refused(lambda: list(pull(store, name, Transfer(insecure=True))))
model = store.resolve("kept")
assert model.system == "" and model.weights_path.read_bytes() == kept.read_bytes()
assert [each.name.shortest for each in store.list()] == ["kept:latest"], store.list()
(incoming,) = store.blobs.folder.glob("*.incoming")
missing = SIZE_BYTES - progress_of(incoming, SIZE_BYTES)
assert missing < SIZE_BYTES
os.truncate(filler, filler.stat().st_size - missing - (1 << 20))
list(pull(store, name, Transfer(insecure=True)))  # room for what is missing is enough
filler.unlink()
make("other", "x")
store.delete("kept")
print(len(store.list()), "models")
"""


@pytest.fixture
def remote() -> Iterator[WildRegistry]:
    """A registry with a model of 20 MiB."""
    with wild_registry() as registry:
        registry.add_model("ns/m:latest", (WEIGHTS, random.Random(2).randbytes(SIZE_BYTES)))  # noqa: S311 - noise
        yield registry


def _start(store: Store, remote: WildRegistry) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _PULL, str(store.root), f"{remote.host}/ns/m"]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def _wait_until(child: "subprocess.Popen[str]", n_bytes: int) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= n_bytes:
            return
    raise AssertionError("the pull ended early")


def _finish(store: Store, remote: WildRegistry) -> None:
    list(pull(store, f"{remote.host}/ns/m", Transfer(caller=Caller(patience=Patience(deadline_s=5.0)), insecure=True)))


def test_pull_that_is_killed_goes_on_to_the_byte(store: Store, remote: WildRegistry) -> None:
    """After `kill -9` nothing is visible, and the next pull asks for exactly the bytes that are not recorded."""
    remote.misbehave = slowly(16 * MEBI)
    with _start(store, remote) as child:
        _wait_until(child, 5 * MEBI)
        child.send_signal(signal.SIGKILL)
    assert store.list() == ()
    (incoming,) = store.blobs.folder.glob("*.incoming")
    recorded = progress_of(incoming, SIZE_BYTES)
    assert recorded >= 5 * MEBI
    remote.misbehave = None
    remote.requests.clear()
    _finish(store, remote)
    spans = [span for asked in remote.requests if (span := asked.range)]
    assert sum(last + 1 - first for first, last in spans) == SIZE_BYTES - recorded
    assert store.resolve(f"{remote.host}/ns/m").weights_path.stat().st_size == SIZE_BYTES


def test_pull_whose_downloader_is_killed_is_taken_over(store: Store, remote: WildRegistry) -> None:
    """Of two processes that want one model the survivor goes on, and no byte but what was under way comes twice."""
    remote.misbehave = slowly(8 * MEBI)
    with _start(store, remote) as first:
        _wait_until(first, MEBI)
        with _start(store, remote) as second:
            _wait_until(second, 2 * MEBI)
            first.send_signal(signal.SIGKILL)
            remote.misbehave = None
            assert second.stdout is not None
            second.stdout.read()
            assert second.wait() == 0
    assert store.resolve(f"{remote.host}/ns/m").weights_path.stat().st_size == SIZE_BYTES
    assert not list(store.blobs.folder.glob("*.incoming*"))


def test_store_is_whole_wherever_a_pull_is_killed(store: Store, remote: WildRegistry) -> None:
    """A process that is killed again and again, at random moments, gets there, and nothing half is ever visible."""
    chance = random.Random(3)  # noqa: S311 - moments, not secrets
    remote.misbehave = slowly(32 * MEBI)
    for _ in range(4):
        with _start(store, remote) as child:
            _wait_until(child, 0)
            try:
                child.wait(chance.uniform(0.0, 0.25))
            except subprocess.TimeoutExpired:
                child.kill()
        for model in store.list():
            assert model.weights_path.stat().st_size == SIZE_BYTES
        store.prune()
    remote.misbehave = None
    _finish(store, remote)
    assert store.resolve(f"{remote.host}/ns/m")
    assert not list(store.blobs.folder.glob("*.incoming*"))


def test_prune_spares_what_is_on_its_way(store: Store) -> None:
    """A broken download stays for a week, a broken write for an hour."""
    store.blobs.folder.mkdir(parents=True)
    young, old = store.blobs.folder / "sha256-a.incoming", store.blobs.folder / "sha256-b.incoming.parts"
    for path, days in ((young, 6), (old, 8)):
        path.touch()
        then = path.stat().st_mtime - days * 86_400
        os.utime(path, (then, then))
    remains = store.blobs.folder / "sha256-xyz"
    remains.touch()
    os.utime(remains, (1, 1))
    store.prune()
    assert list(store.blobs.folder.iterdir()) == [young]
    held = claim(young)
    assert held is not None
    with held:
        assert claim(young) is None


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to mount a small disk")
def test_full_disk_leaves_a_usable_store(remote: WildRegistry, tiny_gguf: Path) -> None:
    """Pulls, uploads and creates are refused by name when it fills; what was there works, and all else does after."""
    remote.misbehave = slowly(16 * MEBI)
    script = 'mount -t tmpfs -o size=40m none /mnt && exec "$0" -c "$@"'
    command = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)), "sh", "-c", script]
    done = subprocess.run(
        [*command, sys.executable, _FILL, str(tiny_gguf), f"{remote.host}/ns/m", str(SIZE_BYTES)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("refused cannot write to the model store")]) == 5
    assert lines[-1] == "2 models"
