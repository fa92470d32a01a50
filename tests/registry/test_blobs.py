"""Blobs: written whole under their digest, or not at all."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from actors.errors import Bug, DigestMismatch, InvalidDigest, StoreUnwritable
from registry.blobs import Blobs
from registry.digests import digest_of
from registry.store import Store

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """An empty folder of blobs."""
    return Blobs(tmp_path)


def test_writer_commit_stores_bytes_under_their_digest(blobs: Blobs) -> None:
    """Chunks add up to one blob, readable by everyone, and no temporary file is left."""
    with blobs.writer() as writer:
        writer.write(b"one ")
        writer.write(b"two")
        digest = writer.commit()
    assert digest == digest_of(b"one two")
    assert blobs.path(digest).read_bytes() == b"one two"
    assert blobs.path(digest).stat().st_mode & 0o777 == 0o644
    assert blobs.size(digest) == 7
    assert list(blobs.folder.iterdir()) == [blobs.path(digest)]


def test_writer_left_without_commit_leaves_nothing(blobs: Blobs) -> None:
    """An abandoned upload is removed."""
    with blobs.writer() as writer:
        writer.write(b"half")
    assert list(blobs.folder.iterdir()) == []


def test_writer_wrong_digest_stores_nothing(blobs: Blobs) -> None:
    """A mismatch names both digests and leaves nothing."""
    expected = digest_of(b"other")
    with blobs.writer() as writer:
        writer.write(b"bytes")
        with pytest.raises(DigestMismatch) as caught:
            writer.commit(expected)
    assert caught.value.fields == {"expected": expected, "actual": digest_of(b"bytes")}
    assert list(blobs.folder.iterdir()) == []


def test_writer_second_commit_is_a_bug(blobs: Blobs) -> None:
    """One writer makes one blob."""
    with blobs.writer() as writer:
        writer.commit()
        with pytest.raises(Bug):
            writer.commit()


def test_writer_refused_write_raises_store_unwritable(blobs: Blobs) -> None:
    """What the operating system refuses is one clear error, and nothing is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with blobs.writer() as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(StoreUnwritable, match="File too large"):
                writer.write(bytes(2000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not any(blobs.folder.iterdir())


def test_writer_under_a_file_raises_store_unwritable(tmp_path: Path) -> None:
    """A store that cannot be made names its path and the remedy."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnwritable, match="OLLAMA_MODELS"):
        Blobs(tmp_path / "file").writer()


def test_add_stored_bytes_again_only_refreshes_their_age(blobs: Blobs) -> None:
    """The second time is not new, and makes the blob young so that pruning spares it."""
    digest, is_new = blobs.add(b"text")
    os.utime(blobs.path(digest), (1, 1))
    assert is_new
    assert blobs.add(b"text") == (digest, False)
    assert blobs.path(digest).stat().st_mtime > time.time() - 60


def test_add_file_copies_it(blobs: Blobs, tmp_path: Path) -> None:
    """A file goes in byte for byte."""
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    assert blobs.path(blobs.add_file(source)).read_bytes() == source.read_bytes()


def test_path_malformed_digest_raises(blobs: Blobs) -> None:
    """No path is made from anything but a digest."""
    for digest in ("../../etc/passwd", "sha256:../x", ""):
        with pytest.raises(InvalidDigest):
            blobs.path(digest)
    assert not blobs.exists("sha256:" + "0" * 64)
    assert blobs.size("sha256:" + "0" * 64) is None


@pytest.mark.processes
def test_writer_killed_process_leaves_a_usable_store(tmp_path: Path) -> None:
    """After kill -9 in mid-upload there is no blob, and pruning removes the remains once they are old."""
    program = (
        "import sys, pathlib, signal; from registry.blobs import Blobs\n"
        "with Blobs(pathlib.Path(sys.argv[1])).writer() as writer:\n"
        "    writer.write(b'half'); print('ready', flush=True); signal.pause()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, tmp_path], cwd=REPOSITORY, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGKILL)
    store = Store(tmp_path)
    assert store.list() == ()
    (left,) = store.blobs.folder.iterdir()
    store.prune()
    assert left.exists(), "it may belong to an upload that goes on"
    os.utime(left, (1, 1))
    store.prune()
    assert not left.exists()


def test_link_gives_a_blob_without_copying_where_that_can_be(store: Store, tmp_path: Path) -> None:
    """The same blocks under the blob's name; what is no file, or not there, is refused without a trace."""
    source = tmp_path / "model.gguf"
    source.write_bytes(b"content")
    digest = digest_of(b"content")
    store.blobs.made_folder()
    modified_ns = source.stat().st_mtime_ns
    assert not store.blobs.link(source, digest, modified_ns=modified_ns - 1), "it may have another digest now"
    assert not store.blobs.exists(digest)
    assert store.blobs.link(source, digest, modified_ns=modified_ns)
    assert store.blobs.path(digest).read_bytes() == b"content"
    for odd in (tmp_path / "absent", tmp_path):
        assert not store.blobs.link(odd, digest_of(b"other"), modified_ns=modified_ns)
    assert [path.name for path in store.blobs.folder.iterdir()] == [store.blobs.path(digest).name]
