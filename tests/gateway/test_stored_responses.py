"""Responses kept for later requests, within bounds."""

import os
from pathlib import Path

import pytest

from actors.messages.job import ChatMessage
from gateway import stored_responses
from gateway.stored_responses import StoredResponse, StoredResponses, new_response_id


def _entry(text: str) -> StoredResponse:
    return StoredResponse(messages=(ChatMessage(role="user", content=text),), response=b"{}")


async def test_store_keeps_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the bound the oldest goes; what another object of the same folder kept is found."""
    monkeypatch.setattr(stored_responses, "MAX_RESPONSES", 2)
    stored, ids = StoredResponses(tmp_path / "r"), [new_response_id() for _ in range(3)]
    for age, response_id in enumerate(ids):
        await stored.put(response_id, _entry(response_id))
        path = next((tmp_path / "r").glob(f"{response_id}.*"))
        os.utime(path, ns=(age, age))
    other = StoredResponses(tmp_path / "r")
    assert await other.get(ids[0]) is None
    assert [await other.get(each) for each in ids[1:]] == [_entry(each) for each in ids[1:]]


async def test_store_refuses_what_is_too_big_and_what_is_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A big conversation is not kept; a path is no id; a damaged file counts as none."""
    monkeypatch.setattr(stored_responses, "MAX_ENTRY_BYTES", 100)
    stored, response_id = StoredResponses(tmp_path / "r"), new_response_id()
    await stored.put(response_id, _entry("x" * 200))
    assert await stored.get(response_id) is None
    assert await stored.get("../r") is None
    assert not await stored.delete("../r")
    await stored.put(response_id, _entry("x"))
    next((tmp_path / "r").glob(f"{response_id}.*")).write_bytes(b"\xc1")
    assert await stored.get(response_id) is None
    assert await stored.delete(response_id)
    assert not await stored.delete(response_id)


async def test_store_without_a_disk_keeps_nothing(tmp_path: Path) -> None:
    """A folder that cannot be made is logged, not raised."""
    (tmp_path / "file").write_text("")
    stored = StoredResponses(tmp_path / "file" / "r")
    await stored.put(new_response_id(), _entry("x"))
