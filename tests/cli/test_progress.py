"""Progress of long commands: bars that fit, lines where nothing can be rewritten."""

import itertools
import os
import pty
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cli.columns import text_columns
from gateway.cli.progress import Bar, BarProgress, PlainProgress, human_remaining, progress_view


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (8, "8s"), (65, "1m05s"), (7380, "2h03m"), (10**7, ">99h")])
def test_human_remaining(seconds: float, text: str) -> None:
    """The two largest units."""
    assert human_remaining(seconds) == text


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (100, "pulling abc  50% ▕████████████████████                    ▏  1 GB/2 GB  100 MB/s  10s"),
        (58, "pulling abc  50% ▕██████       ▏  1 GB/2 GB  100 MB/s  10s"),
        (44, "pulling abc  50%  1 GB/2 GB  100 MB/s  10s"),
        (38, "pulling abc  50%  1 GB/2 GB  100 MB/s"),
        (30, "pulling abc  50%  1 GB/2 GB"),
        (20, "pulling abc  50%"),
        (10, "pulli  50%"),
        (3, ""),
    ],
)
def test_bar_line_loses_parts_as_the_terminal_narrows(columns: int, line: str) -> None:
    """The bar goes first, the percentage last."""
    now = itertools.count(0, 10)
    bar = Bar("pulling abc", lambda: next(now))
    bar.update(0, 2_000_000_000)
    bar.update(1_000_000_000, 2_000_000_000)
    assert bar.line(columns) == line


@given(status=st.text("ab é漢", max_size=30), columns=st.integers(0, 120), completed=st.integers(0, 10**13))
@settings(max_examples=100)
def test_bar_line_never_exceeds_the_width(status: str, columns: int, completed: int) -> None:
    """Whatever it says, it stays on its line."""
    bar = Bar(status, lambda: 0.0)
    bar.update(completed, 10**13)
    assert text_columns(bar.line(columns)) <= columns


def test_plain_progress_tells_each_status_once(capfd: pytest.CaptureFixture[str]) -> None:
    """Counted ones when they are done, and now and then while they are not."""
    now = [0.0]
    view = PlainProgress(lambda: now[0])
    for status, completed, at in (("a", 0, 0), ("b", 1, 1), ("b", 5, 40), ("b", 6, 41), ("b", 10, 42), ("c", 0, 43)):
        now[0] = at
        view.show({"status": status, "completed": completed, "total": 10 if status == "b" else 0})
        view.show({"status": status, "completed": completed, "total": 10 if status == "b" else 0})
    assert capfd.readouterr().err == "a\nb 50%\nb 100%\nc\n"


def test_bar_progress_rewrites_its_bars_and_goes_on_below(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two downloads at once are two lines; a status without counts ends them."""
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("LINES", "10")
    with BarProgress(itertools.count().__next__) as view:
        view.show({"status": "manifest"})
        view.show({"status": "one", "total": 10, "completed": 5})
        view.show({"status": "two", "total": 10, "completed": 0})
        view.show({"status": "one", "total": 10, "completed": 10})
        view.show({"status": "done"})
    drawn = capfd.readouterr().err
    assert drawn.startswith("manifest\n\r\x1b[K")
    assert drawn.endswith("\ndone\n")
    screen: list[str] = []
    row = 0
    for up, text in re.findall(r"(?:\x1b\[(\d+)A)?\r\x1b\[K([^\n]*)\n", drawn):
        row -= int(up or 0)
        screen[row : row + 1] = [text]
        row += 1
    assert [line.split()[:2] for line in screen] == [["one", "100%"], ["two", "0%"]]


def test_progress_view_on_a_terminal_draws_and_on_a_dumb_one_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a terminal can do is asked of its name; without one nothing is rewritten."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        assert isinstance(progress_view(as_json=False), BarProgress)
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(progress_view(as_json=False), PlainProgress)
    os.close(ours)
