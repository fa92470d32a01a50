"""A server that cannot start says why in one line, ends with status 1 and leaves nothing behind."""

import socket

import pytest

from tests.support.server import Place, RunningServer, run_serve, running_server

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("n_workers", ["1", "2"])
def test_port_in_use_is_told(place: Place, n_workers: str) -> None:
    """The text is the one that users of Ollama know; workers share one socket, which no second server joins."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_serve(place, OLLAMA_HOST=f"127.0.0.1:{port}", LLAMACTOR_GATEWAY_WORKERS=n_workers)
    assert ended.returncode == 1
    assert ended.stderr == f"Error: listen tcp 127.0.0.1:{port}: bind: address already in use\n"
    assert not place.run_dir.exists()


def test_run_folder_in_use_is_told(server: RunningServer) -> None:
    """A second server does not disturb the first."""
    before = server.titles
    ended = run_serve(server.place)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: another llamactor process holds ")
    assert set(before) <= set(server.titles)


def test_unwritable_store_is_told(place: Place) -> None:
    """A store that cannot be made names its path and the remedy."""
    (place.folder / "file").touch()
    models = place.folder / "file" / "models"
    ended = run_serve(place, OLLAMA_MODELS=str(models))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: cannot write to the model store at {models}: not a directory")
    assert "OLLAMA_MODELS" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not place.run_dir.exists()


@pytest.mark.parametrize("host", ["203.0.113.1:0", "no-such-host.invalid:0"])
def test_address_that_is_not_ours_is_told(place: Place, host: str) -> None:
    """Neither an address of another machine nor an unknown name can be served."""
    ended = run_serve(place, OLLAMA_HOST=host)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: listen tcp ")
    assert ended.stderr.count("\n") == 1


def test_too_long_run_folder_is_told(place: Place) -> None:
    """A path in which no socket fits names the variable to change."""
    ended = run_serve(place, LLAMACTOR_RUN_DIR=str(place.folder / ("x" * 100)))
    assert ended.returncode == 1
    assert "LLAMACTOR_RUN_DIR" in ended.stderr


def test_wrong_cache_type_is_told(place: Place) -> None:
    """A type that there is not ends the start, with those that there are."""
    ended = run_serve(place, OLLAMA_KV_CACHE_TYPE="q9_9")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: OLLAMA_KV_CACHE_TYPE: 'q9_9' is none of f32, f16, ")
    assert ended.stderr.count("\n") == 1


def test_two_servers_run_side_by_side(server: RunningServer) -> None:
    """With folders and ports of their own they do not meet."""
    neighbour = Place(server.place.folder / "b")
    neighbour.folder.mkdir()
    before = server.titles
    with running_server(neighbour) as other:
        assert other.port != server.port
    assert set(before) <= set(server.titles)
