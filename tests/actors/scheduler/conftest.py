"""The stage that tests of the scheduler's core share."""

import pytest

from tests.actors.scheduler.stage import Stage


@pytest.fixture
def stage() -> Stage:
    """A core with one gateway and one host, settled."""
    stage = Stage()
    stage.open()
    return stage
