"""Fixtures of the fault tests: a store with small models, and a server over it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Place, RunningServer, running_server


@pytest.fixture
def place(run_dir: Path, tiny_gguf: Path) -> Place:
    """A folder for a server, with the tiny model as `tiny`."""
    place = Place(run_dir)
    place.install("tiny", tiny_gguf)
    return place


@pytest.fixture
def two_models(place: Place, tiny_gguf: Path) -> Place:
    """The same with another tiny model as `twin`."""
    place.install_twin("twin", tiny_gguf)
    return place


@pytest.fixture
def roomy_place(place: Place, smollm2_gguf: Path) -> Place:
    """The same with SmolLM2 as `smollm2`, for what has to take long."""
    place.install("smollm2", smollm2_gguf)
    return place


@pytest.fixture
def server(place: Place) -> Iterator[RunningServer]:
    """A server with the tiny model and the default settings."""
    with running_server(place) as server:
        yield server
