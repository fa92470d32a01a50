"""The shape of the project: imports point one way, and the documents show the tables as they are."""

import ast
from pathlib import Path

import pytest

from actors.scheduler.states import transition_diagram

_ROOT = Path(__file__).parents[1]
_PACKAGES = {"actors", "gateway", "registry", "runners"}
_ALLOWED = {
    "actors": set[str](),
    "registry": {"actors"},
    "gateway": {"actors", "registry"},
    "runners": {"actors", "registry"},
}
_BEGIN, _END = "<!-- transition_diagram -->", "<!-- /transition_diagram -->"


def _imports(path: Path) -> set[str]:
    """List the modules that a file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", sorted(_PACKAGES))
def test_package_imports_only_what_it_may(package: str) -> None:
    """Gateway and runners never import each other, actors imports none of its users."""
    for path in (_ROOT / package).rglob("*.py"):
        tops = {module.partition(".")[0] for module in _imports(path)} & _PACKAGES
        assert tops <= _ALLOWED[package] | {package}, path


def test_registry_knows_only_the_errors_of_the_actors() -> None:
    """The store could be used without any process around it."""
    for path in (_ROOT / "registry").rglob("*.py"):
        assert {module for module in _imports(path) if module.startswith("actors")} <= {"actors.errors"}, path


def test_llama_cpp_is_imported_in_one_place() -> None:
    """Only `runners/llama/binding.py` knows the native library."""
    users = {
        path.relative_to(_ROOT).as_posix()
        for package in _PACKAGES
        for path in (_ROOT / package).rglob("*.py")
        if any(module.partition(".")[0] == "llama_cpp" for module in _imports(path))
    }
    assert users == {"runners/llama/binding.py"}


def test_trio_and_zeromq_meet_in_one_place() -> None:
    """Only the transport imports both."""
    users = {
        path.relative_to(_ROOT).as_posix()
        for package in _PACKAGES
        for path in (_ROOT / package).rglob("*.py")
        if {"trio", "zmq"} <= {module.partition(".")[0] for module in _imports(path)}
    }
    assert users <= {"actors/transport.py", "runners/process.py"}  # the latter ends the context after trio's run


def test_children_are_started_by_nothing_that_forks_in_a_worker_thread() -> None:
    """The parent-death signal fires when the thread that made a child ends, and trio's worker threads end when idle."""
    for package in _PACKAGES:
        for path in (_ROOT / package).rglob("*.py"):
            used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            assert not used & {"open_process", "run_process"}, path


def test_architecture_shows_the_current_transition_tables() -> None:
    """The diagrams in ARCHITECTURE.md are generated from the tables."""
    text = (_ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    shown = text.partition(_BEGIN)[2].partition(_END)[0]
    assert shown.strip() == transition_diagram().strip()
