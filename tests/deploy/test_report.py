"""Tests of progress lines."""

import io

from deploy.report import Progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_rewrites_one_line() -> None:
    """Each percent replaces the one before; the line ends once."""
    terminal = _Terminal()
    progress = Progress("building", stream=terminal)
    for done in (1, 50):
        progress.show(done, 50)
    progress.close()
    progress.close()
    assert terminal.getvalue() == ("\r\x1b[Ksetup: building   2 % (1/50)\r\x1b[Ksetup: building 100 % (50/50)\n")


def test_progress_of_nothing_does_not_fail() -> None:
    """A total of zero is no division by zero."""
    stream = io.StringIO()
    Progress("x", stream=stream).show(0, 0)
    assert stream.getvalue() == "setup: x   0 % (0/0)\n"
