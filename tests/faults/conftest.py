"""Fixtures of the fault tests: a store with small models, and a server over it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Place, RunningServer, running_server
from tests.support.step_gate import StepGate, build_step_gate


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


@pytest.fixture(scope="session")
def step_gate_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What makes the steps of a server wait."""
    return build_step_gate(tmp_path_factory.mktemp("step_gate"))


@pytest.fixture
def gate(step_gate_library: Path, run_dir: Path) -> StepGate:
    """The gate of a server, open at first."""
    return StepGate(step_gate_library, run_dir / "gate")


@pytest.fixture
def server(place: Place, gate: StepGate) -> Iterator[RunningServer]:
    """A server with the tiny model and the default settings, whose steps a test can hold up."""
    with running_server(place, **gate.environ) as server:
        yield server
