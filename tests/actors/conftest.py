"""Fixtures of the actors' tests."""

from collections.abc import Iterator

import pytest

from tests.support.process_tree import no_process_left


@pytest.fixture
def no_leak() -> Iterator[None]:
    """Fail a test that leaves a process behind."""
    with no_process_left():
        yield
