"""Upload sessions: one writer at a time, and nothing is ever added to what has become a blob."""

import os

import pytest

from actors.errors import DigestMismatch, UploadMisplaced, UploadNotFound
from registry.digests import digest_of
from registry.store import Store
from registry.uploads import Uploads


def test_session_is_committed_only_while_nothing_comes_in(store: Store) -> None:
    """A part that is still open could add to the blob after its bytes were hashed."""
    uploads = Uploads(store.blobs)
    session = uploads.begin()
    with uploads.part(session, 0) as part:
        part.write(b"whole")
        for refused in (
            lambda: uploads.commit(session, digest_of(b"whole")),
            lambda: uploads.part(session, 5).__enter__(),
        ):
            with pytest.raises(UploadMisplaced):
                refused()
    uploads.commit(session, digest_of(b"whole"))
    assert store.blobs.path(digest_of(b"whole")).read_bytes() == b"whole"
    for gone in (lambda: uploads.commit(session, digest_of(b"whole")), lambda: uploads.part(session, 5).__enter__()):
        with pytest.raises(UploadNotFound):
            gone()


def test_session_that_became_a_blob_while_a_part_opened_it_takes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that was opened is the blob's by the time the lock is free."""
    uploads = Uploads(store.blobs)
    session = uploads.begin()
    with uploads.part(session, 0) as part:
        part.write(b"whole")
    opened = os.open

    def open_and_be_overtaken(path: os.PathLike[str], flags: int) -> int:
        fd = opened(path, flags)
        monkeypatch.undo()
        uploads.commit(session, digest_of(b"whole"))
        return fd

    monkeypatch.setattr(os, "open", open_and_be_overtaken)
    with pytest.raises(UploadNotFound), uploads.part(session, 5) as late:
        late.write(b" and more")
    assert store.blobs.path(digest_of(b"whole")).read_bytes() == b"whole"


def test_session_with_another_digest_ends(store: Store) -> None:
    """Its bytes are dropped."""
    uploads = Uploads(store.blobs)
    session = uploads.begin()
    with pytest.raises(DigestMismatch):
        uploads.commit(session, digest_of(b"other"))
    assert list(store.blobs.folder.iterdir()) == []
