"""The launcher's tests start launchers as real processes, with stub runners."""

from pathlib import Path

import pytest

from tests.support.launcher_at_work import LauncherMaker


@pytest.fixture
def launchers(run_dir: Path, no_leak: None) -> LauncherMaker:  # noqa: ARG001 - a check after the test
    """Give the maker of launcher processes in a run folder."""
    return LauncherMaker(run_dir)
