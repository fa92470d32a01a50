"""A store that is left in the middle of each change, at every point there is: by `kill -9`, and by a full disk."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.create import CreateRequest, create
from registry.manifests import WEIGHTS
from registry.store import Store
from tests.registry.conftest import REPOSITORY
from tests.support.wild_registry import wild_registry

pytestmark = pytest.mark.processes

CHANGES = ["create", "replace", "copy", "delete", "pull", "receive", "prune"]


@pytest.fixture
def host() -> Iterator[str]:
    """A registry with a model that is large enough to be fetched in parts."""
    with wild_registry() as registry:
        registry.add_model("ns/m:latest", (WEIGHTS, random.Random(4).randbytes(1 << 20)))  # noqa: S311 - noise
        yield registry.host


@pytest.fixture
def filled(store: Store, write_gguf: Any) -> Path:
    """A store with two models and a blob that nobody needs."""
    for name, width in (("kept", 8), ("old", 16)):
        digest = store.blobs.add_file(write_gguf(f"{name}.gguf", tensors={"token_embd.weight": (4, width)}))
        list(create(store, CreateRequest(model=name, files={"m.gguf": digest}, system=name)))
    unused, _ = store.blobs.add(b"nobody needs this")
    os.utime(store.blobs.path(unused), (1, 1))
    return store.root


def _run(command: list[str]) -> dict[str, int]:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: int(count) for name, count in (line.split() for line in done.stdout.splitlines())}


def test_store_killed_at_any_point_of_a_change_is_whole(filled: Path, host: str) -> None:
    """What is visible is whole, the change can be made again, and pruning leaves nothing of the first attempt."""
    in_memory = Path("/dev/shm")  # where nothing waits for a disk
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as folder:
        met = _run([sys.executable, "-m", "tests.support.fault_points", "kill", str(filled), folder, host])
    assert list(met) == CHANGES
    assert all(count > 2 for count in met.values()), met


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to mount a small disk")
def test_store_on_a_disk_that_is_full_at_any_point_of_a_change_is_whole(filled: Path, host: str) -> None:
    """From no free page on, one more each time: refused by name or done, never half; deleting always works."""
    program = ["-m", "tests.support.fault_points", "disk", str(filled), "/mnt", host]
    script = 'mount -t tmpfs -o size=8m none /mnt && exec "$@"'
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    met = _run(["unshare", "--mount", *user, "sh", "-c", script, "sh", sys.executable, *program])
    assert list(met) == CHANGES
    assert met["delete"] == met["prune"] == 0
    assert all(met[name] > 0 for name in ("create", "replace", "copy", "pull", "receive")), met
