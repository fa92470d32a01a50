"""The store's lock."""

import threading
from pathlib import Path

import pytest

from actors.errors import StoreUnwritable
from registry.lock import store_lock


def test_store_lock_held_elsewhere_waits_for_its_turn(tmp_path: Path) -> None:
    """A second holder comes in only after the first has gone."""
    order: list[str] = []
    started = threading.Event()

    def second() -> None:
        started.set()
        with store_lock(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with store_lock(tmp_path):
        thread.start()
        assert started.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_store_lock_never_released_raises_after_its_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends with an error that says why."""
    monkeypatch.setattr("registry.lock._DEADLINE_S", 0.0)
    with store_lock(tmp_path), pytest.raises(StoreUnwritable, match="held the lock"), store_lock(tmp_path):
        pass


def test_store_lock_leaves_no_file(tmp_path: Path) -> None:
    """The folder is made if need be, and stays empty."""
    with store_lock(tmp_path / "manifests"):
        pass
    assert not any((tmp_path / "manifests").iterdir())
