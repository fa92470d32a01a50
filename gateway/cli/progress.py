"""Progress of long commands on standard error: bars on a terminal, lines elsewhere, JSON for programs.

A step is an object with a `status` and, where it can be counted, `total` and `completed` in bytes. Steps that count are
bars, several at once if they come in turns; a step that does not count ends them. Bars fit any width: on a narrow
terminal they lose the bar itself, then the remaining time, the speed and the sizes. Where nothing can be rewritten (a
file, a dumb terminal) a counted step is told when it is done, and each half minute while it is not.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

import click

from gateway.cli.client import Json
from gateway.cli.columns import character_columns, text_columns
from gateway.cli.output import print_json_line
from gateway.cli.text import human_size

_REDRAW_S = 0.1
_TELL_AGAIN_S = 30.0
_SPEED_WINDOW_S = 5.0
_ROOM_FOR_BAR = range(10, 10_000)
_LONGEST_BAR = 40
_SECONDS_PER_MINUTE = 60
_MINUTES_PER_HOUR = 60
_LONGEST_HOURS = 99

Clock = Callable[[], float]


class ProgressView(Protocol):
    """Shows steps; leave the `with` block when there are no more."""

    def show(self, step: Json) -> None:
        """Take one step."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End what is on the screen, so that other text can follow."""


def progress_view(*, as_json: bool) -> ProgressView:
    """Choose how to show progress here."""
    if as_json:
        return JsonProgress()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return BarProgress()
    return PlainProgress()


class _View:
    """What all views share: entering and leaving does nothing by itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is on the screen."""


class JsonProgress(_View):
    """Each step as a line of JSON on standard output."""

    def show(self, step: Json) -> None:
        """Print it."""
        print_json_line(step)


class PlainProgress(_View):
    """Each status on a line, once."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._last = ""
        self._told_at = clock()

    def show(self, step: Json) -> None:
        """Print what is new."""
        status, total, completed = _counts(step)
        if total and completed < total:
            if self._clock() - self._told_at < _TELL_AGAIN_S:
                return
            self._print(f"{status} {_percent(completed, total)}")
        else:
            self._print(f"{status} 100%" if total else status)

    def _print(self, line: str) -> None:
        if line and line != self._last:
            self._last, self._told_at = line, self._clock()
            click.echo(line, err=True)


class Bar:
    """One counted status, with its speed over the last seconds."""

    def __init__(self, status: str, clock: Clock) -> None:
        self._status = status
        self._clock = clock
        self._total = self._completed = 0
        self._samples: list[tuple[float, int]] = []

    def update(self, completed: int, total: int) -> None:
        """Take new counts."""
        now = self._clock()
        self._completed, self._total = completed, total
        self._samples.append((now, completed))
        while len(self._samples) > 2 and now - self._samples[0][0] > _SPEED_WINDOW_S:  # noqa: PLR2004 - a start and an end
            del self._samples[0]

    @property
    def is_done(self) -> bool:
        """Whether all of it is done."""
        return self._completed >= self._total

    def line(self, columns: int) -> str:
        """Lay it out in so many columns."""
        done, total = self._completed, self._total
        parts = [f"{_percent(done, total):>4}", f"{human_size(done)}/{human_size(total)}"]
        speed = self._speed()
        if not self.is_done and speed:
            parts += [f"{human_size(round(speed))}/s", human_remaining((total - done) / speed)]
        for n_parts in range(len(parts), 0, -1):
            text = f"{self._status} " + "  ".join(parts[:n_parts])
            left = columns - text_columns(text)
            if left >= 0:
                return self._with_bar(parts, left) if n_parts == len(parts) and left in _ROOM_FOR_BAR else text
        percent = f" {parts[0]}"
        return _cut(self._status, columns - len(percent)) + percent if columns > len(percent) else ""

    def _with_bar(self, parts: list[str], left: int) -> str:
        columns = min(left - 3, _LONGEST_BAR)
        full = columns * self._completed // max(self._total, 1)
        return "  ".join((f"{self._status} {parts[0]} ▕{'█' * full}{' ' * (columns - full)}▏", *parts[1:]))

    def _speed(self) -> float:
        (begin, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - begin) if end > begin else 0.0


class BarProgress(_View):
    """Bars that are rewritten in place."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._bars: dict[str, Bar] = {}
        self._n_drawn = 0
        self._drawn_at = float("-inf")
        self._last = ""

    def show(self, step: Json) -> None:
        """Draw it; no more than ten times a second."""
        status, total, completed = _counts(step)
        if not total:
            self.close()
            if status and status != self._last:
                click.echo(status, err=True)
            self._last = status
            return
        bar = self._bars.get(status)
        if bar is None:
            bar = self._bars[status] = Bar(status, self._clock)
        bar.update(completed, total)
        if bar.is_done or self._clock() - self._drawn_at >= _REDRAW_S:
            self._draw()

    def close(self) -> None:
        """Leave the bars as they are and go on below them."""
        if self._bars:
            self._draw()
        self._bars, self._n_drawn = {}, 0

    def _draw(self) -> None:
        size = shutil.get_terminal_size()
        bars = list(self._bars.values())[-max(size.lines - 1, 1) :]  # what has scrolled away cannot be rewritten
        up = f"\x1b[{self._n_drawn}A" if self._n_drawn else ""
        lines = "".join(f"\r\x1b[K{bar.line(size.columns - 1)}\n" for bar in bars)
        sys.stderr.write(up + lines)
        sys.stderr.flush()
        self._n_drawn, self._drawn_at = len(bars), self._clock()


def human_remaining(seconds: float) -> str:
    """Print a time to go, as in `8s`, `1m05s` or `2h03m`."""
    minutes, rest = divmod(round(seconds), _SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, _MINUTES_PER_HOUR)
    if hours:
        return f"{hours}h{minutes:02}m" if hours <= _LONGEST_HOURS else f">{_LONGEST_HOURS}h"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def _counts(step: Json) -> tuple[str, int, int]:
    return str(step.get("status") or ""), int(step.get("total") or 0), int(step.get("completed") or 0)


def _percent(completed: int, total: int) -> str:
    return f"{100 * completed // total}%"


def _cut(text: str, columns: int) -> str:
    return "".join(_fitting(text, columns))


def _fitting(text: str, columns: int) -> Iterator[str]:
    for character in text:
        columns -= character_columns(character)
        if columns < 0:
            return
        yield character
