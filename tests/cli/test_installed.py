"""Tests of `list`, `cp` and `rm`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cli.conftest import Result
from tests.cli.double import Double

Actorctl = Callable[..., Result]


def _model(name: str, size: int = 98_362_745) -> dict[str, Any]:
    modified_at = (datetime.now(UTC) - timedelta(minutes=5, seconds=30)).isoformat()
    return {"name": name, "model": name, "size": size, "digest": "fd5f44c0b5aff645" * 4, "modified_at": modified_at}


def test_list_prints_the_table_that_people_know(server: Double, actorctl: Actorctl) -> None:
    """Name, id, size and age, in columns."""
    server.replies["GET /api/tags"] = (200, [{"models": [_model("smollm2:135m"), _model("tiny:latest", 4_031_189)]}])
    result = actorctl("list")
    assert result.out == (
        "NAME            ID              SIZE      MODIFIED      \n"
        "smollm2:135m    fd5f44c0b5af    98 MB     5 minutes ago    \n"
        "tiny:latest     fd5f44c0b5af    4.0 MB    5 minutes ago    \n"
    )
    assert (result.status, result.err) == (0, "")


def test_list_with_prefix_ignores_case(server: Double, actorctl: Actorctl) -> None:
    """A prefix selects, in upper or lower case; `ls` is the same command."""
    server.replies["GET /api/tags"] = (200, [{"models": [_model("smollm2:135m"), _model("tiny:latest")]}])
    assert "smollm2" not in actorctl("ls", "TINY").out


def test_list_as_json_gives_the_servers_objects(server: Double, actorctl: Actorctl) -> None:
    """Programs get what the API gives, filtered."""
    model = _model("smollm2:135m")
    server.replies["GET /api/tags"] = (200, [{"models": [model]}])
    assert json.loads(actorctl("list", "--json").out) == {"models": [model]}


def test_list_of_remote_model_shows_no_size(server: Double, actorctl: Actorctl) -> None:
    """A stub for a model elsewhere has no size here."""
    server.replies["GET /api/tags"] = (200, [{"models": [_model("far:latest") | {"remote_model": "far"}]}])
    assert actorctl("list").out.splitlines()[1].split()[2] == "-"


def test_cp_says_what_it_copied(server: Double, actorctl: Actorctl) -> None:
    """The copy is confirmed, and the server was asked once."""
    server.replies["POST /api/copy"] = (200, [])
    assert actorctl("cp", "pirate", "corsair").out == "copied 'pirate' to 'corsair'\n"
    assert server.asked("POST /api/copy") == [{"source": "pirate", "destination": "corsair"}]


def test_cp_of_unknown_model_passes_the_servers_text_on(server: Double, actorctl: Actorctl) -> None:
    """An error of the API is one line and status 1."""
    server.replies["POST /api/copy"] = (404, [{"error": 'model "nope" not found'}])
    result = actorctl("cp", "nope", "x")
    assert (result.status, result.err) == (1, 'Error: model "nope" not found\n')


def test_rm_unloads_first_and_stops_at_the_first_error(server: Double, actorctl: Actorctl) -> None:
    """What could be deleted was, and is told."""

    def delete(body: Any) -> tuple[int, list[Any]]:
        return (200, []) if body["model"] == "pirate" else (404, [{"error": "model 'corsair' not found"}])

    server.replies["DELETE /api/delete"] = delete
    result = actorctl("rm", "pirate", "corsair", "never")
    assert result.out == "deleted 'pirate'\n"
    assert (result.status, result.err) == (1, "Error: model 'corsair' not found\n")
    assert server.requests[0] == ("POST /api/generate", {"model": "pirate", "keep_alive": 0})
    assert len(server.asked("DELETE /api/delete")) == 2
