"""Changes of a store, ended wherever they touch a file: `fault_points.py (kill|disk) STORE FOLDER REGISTRY`.

`kill` ends a forked child with SIGKILL right before its first change of a file or folder, then before the second, and
so on until it gets through. `disk`, for which FOLDER must be a small disk, leaves no page free, then one, and so
on. After each fault the store must be whole, the change must succeed when it is made again, and pruning must leave
nothing of the first attempt. Prints for each change how many faults it met.
"""

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from actors.errors import ModelNotFound, StoreUnwritable
from registry.create import CreateRequest, create
from registry.digests import digest_of, digest_of_file
from registry.names import parse_name
from registry.pull import pull
from registry.store import Store
from registry.transfer import Transfer
from registry.uploads import Uploads

KEPT, OLD, MADE = "kept", "old", "made"
PAGE_BYTES = 4096
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.utime", "os.chmod", "os.link"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_MOST_POINTS = 200
_FEW_PAGES, _MANY_PAGES = 16, 512
_LONG_AGO = 1_000_000_000

Change = Callable[[Store, str], object]


def _create(store: Store, _host: str) -> None:
    digest = store.blobs.add_file(store.blobs.path(_weights(store, OLD)))
    request = CreateRequest(model=MADE, files={"m.gguf": digest}, system="new", parameters={"top_k": 3}, license="L")
    list(create(store, request))


def _replace(store: Store, _host: str) -> None:
    list(create(store, CreateRequest(model=OLD, source=KEPT, system="replaced")))


def _receive(store: Store, _host: str) -> None:
    """Take what another server pushes: a blob in two parts, then the manifest."""
    _, manifest = store.manifest(parse_name(KEPT))
    content = b"text that was pushed" * 100
    uploads = Uploads(store.blobs)
    session = uploads.begin()
    for start, piece in ((0, content[:1000]), (1000, content[1000:])):
        with uploads.part(session, start) as part:
            part.write(piece)
    uploads.commit(session, digest_of(content))
    added = b'{"mediaType":"application/vnd.ollama.image.license","digest":"%s","size":%d},' % (
        digest_of(content).encode(),
        len(content),
    )
    store.install(parse_name(MADE), manifest.replace(b'"layers":[', b'"layers":[' + added))


CHANGES: dict[str, Change] = {
    "create": _create,
    "replace": _replace,
    "copy": lambda store, _host: store.copy(KEPT, OLD),
    "delete": lambda store, _host: store.delete(OLD),
    "pull": lambda store, host: list(pull(store, f"{host}/ns/m", Transfer(insecure=True))),
    "receive": _receive,
    "prune": lambda store, _host: store.prune(),
}


def main() -> None:
    """Make all changes under the kind of fault that was asked for."""
    mode, original, folder, host = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    for name, change in CHANGES.items():
        faults = (_killed if mode == "kill" else _starved)(change, original, folder, host)
        sys.stdout.write(f"{name} {sum(1 for _ in faults)}\n")


def _killed(change: Change, original: Path, work: Path, host: str) -> Iterator[None]:
    folder = work / "models"
    for point in range(1, _MOST_POINTS):
        _copied(original, folder)
        child = os.fork()
        if child == 0:
            _die_at(point)
            change(Store(folder), host)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        _check(folder)
        _finish(change, folder, host)
        if os.WIFSIGNALED(status):
            yield
        else:
            assert status == 0, f"the change itself failed with {status}"
            return
    raise AssertionError("it never gets through")


def _die_at(point: int) -> None:
    counted = itertools.count(1)

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        if (event in _CHANGES or is_write) and next(counted) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_event)


def _starved(change: Change, original: Path, work: Path, host: str) -> Iterator[None]:
    folder, filler = work / "models", work / "filler"
    for n_pages in (*range(_FEW_PAGES), *range(_FEW_PAGES, _MANY_PAGES, _FEW_PAGES)):
        _copied(original, folder)
        _fill(filler, n_pages)
        try:
            change(Store(folder), host)
        except StoreUnwritable:
            failed = True
        else:
            failed = False
        _check(folder)
        filler.unlink()
        _finish(change, folder, host)
        if not failed:
            return
        yield
    raise AssertionError("it never gets through")


def _fill(filler: Path, n_pages_left: int) -> None:
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, PAGE_BYTES):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
        file.truncate(file.tell() // PAGE_BYTES * PAGE_BYTES - n_pages_left * PAGE_BYTES)


def _copied(original: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)


def _weights(store: Store, name: str) -> str:
    weights = store.resolve(name).weights
    assert weights is not None
    return weights.digest


def _check(folder: Path) -> None:
    """Check that all that is visible is whole, and that the model which no change touches is there."""
    store = Store(folder)
    assert store.resolve(KEPT).system == KEPT
    for model in store.list():
        for digest in store.resolve(model.name.canonical).manifest.digests():
            assert digest_of_file(store.blobs.path(digest)) == digest, f"{digest} of {model.name.shortest} is damaged"


def _finish(change: Change, folder: Path, host: str) -> None:
    """Make the change again, then check that pruning leaves only what manifests name."""
    store = Store(folder)
    try:
        change(store, host)
    except ModelNotFound:
        assert change is CHANGES["delete"]
    _check(folder)
    for path in folder.rglob("*"):
        os.utime(path, (_LONG_AGO, _LONG_AGO))
    store.prune()
    used = {digest.replace(":", "-") for model in store.list() for digest in model.manifest.digests()}
    assert {path.name for path in store.blobs.folder.iterdir()} == used
    assert sum(path.is_file() for path in store.manifests.rglob("*")) == len(store.list())


if __name__ == "__main__":
    main()
