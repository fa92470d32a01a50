"""What an earlier launcher left: its processes are killed, strangers are not."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.launcher.leftovers import forget_process, reap_leftovers, record_process
from actors.pidfd import start_time_of

pytestmark = pytest.mark.usefixtures("no_leak")


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that lives until it is killed."""
    with subprocess.Popen(["/bin/sleep", "1000"]) as process:
        yield process
        process.kill()


def test_reap_leftovers_kills_a_recorded_process(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    """A process that outlived its launcher is ended, and its file removed."""
    record_process(tmp_path, sleeper.pid)
    assert reap_leftovers(tmp_path) == 1
    assert sleeper.wait(60) < 0
    assert list(tmp_path.iterdir()) == []


def test_reap_leftovers_spares_another_process_with_the_pid(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    """A recycled pid has another start time."""
    started = start_time_of(sleeper.pid)
    assert started is not None
    (tmp_path / f"{sleeper.pid}.pid").write_text(str(started - 1))
    assert reap_leftovers(tmp_path) == 0
    assert sleeper.poll() is None


@pytest.mark.parametrize(
    ("name", "text"),
    [("x.pid", "1"), ("1.pid", "soon"), (f"{os.getpid()}.pid", ""), ("99999999999999999999.pid", "1"), ("0.pid", "1")],
)
def test_reap_leftovers_with_a_damaged_file_only_removes_it(tmp_path: Path, name: str, text: str) -> None:
    """A file cut short by a crash kills nobody."""
    (tmp_path / name).write_text(text)
    assert reap_leftovers(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_reap_leftovers_removes_sockets_and_folders(tmp_path: Path) -> None:
    """The scheduler's socket is not the launcher's to remove."""
    for name in ("runner-e-1.sock", "renderer.sock", "scheduler.sock"):
        (tmp_path / name).touch()
    (tmp_path / "pymp-x").mkdir()
    reap_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scheduler.sock"]


def test_forget_process_removes_its_file(tmp_path: Path) -> None:
    """A process that was reaped is no leftover; to forget it twice is allowed."""
    record_process(tmp_path, os.getpid())
    assert len(list(tmp_path.iterdir())) == 1
    forget_process(tmp_path, os.getpid())
    forget_process(tmp_path, os.getpid())
    assert list(tmp_path.iterdir()) == []
