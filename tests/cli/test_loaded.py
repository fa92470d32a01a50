"""Tests of `ps`, `load`, `unload` and `stop`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.cli.conftest import Result
from tests.cli.double import Double

Actorctl = Callable[..., Result]


def test_ps_prints_the_table_that_people_know(server: Double, actorctl: Actorctl) -> None:
    """Loaded models with size, processor, context and the time that is left."""
    expires_at = (datetime.now(UTC) + timedelta(minutes=4, seconds=30)).isoformat()
    model = {
        "name": "pirate:latest",
        "digest": "09287042b314" + "0" * 52,
        "size": 209_000_000,
        "size_vram": 0,
        "context_length": 4096,
        "expires_at": expires_at,
    }
    server.replies["GET /api/ps"] = (200, [{"models": [model]}])
    assert actorctl("ps").out == (
        "NAME             ID              SIZE      PROCESSOR    CONTEXT    UNTIL              \n"
        "pirate:latest    09287042b314    209 MB    100% CPU     4096       4 minutes from now    \n"
    )
    assert actorctl("ps", "PIRATE").out.count("\n") == 1


def test_ps_of_nothing_is_the_header(server: Double, actorctl: Actorctl) -> None:
    """No loaded model is no error."""
    server.replies["GET /api/ps"] = (200, [{"models": []}])
    assert actorctl("ps").out == "NAME    ID    SIZE    PROCESSOR    CONTEXT    UNTIL \n"


def test_load_passes_the_keepalive_on(server: Double, actorctl: Actorctl) -> None:
    """An empty prompt loads; the keep-alive is sent as it was written."""
    reply = {"model": "m", "done": True, "done_reason": "load"}
    server.replies["POST /api/generate"] = (200, [reply])
    assert actorctl("load", "m", "--keepalive", "1h").out == "loaded 'm'\n"
    assert server.asked("POST /api/generate") == [{"model": "m", "stream": False, "keep_alive": "1h"}]
    assert json.loads(actorctl("load", "m", "--json").out) == reply


def test_load_with_bad_keepalive_says_so_before_asking(server: Double, actorctl: Actorctl) -> None:
    """A duration needs digits and a unit."""
    result = actorctl("load", "m", "--keepalive", "abc")
    assert (result.status, result.err) == (1, 'Error: time: invalid duration "abc"\n')
    assert server.requests == []


def test_stop_is_silent_and_unload_is_not(server: Double, actorctl: Actorctl) -> None:
    """Both unload; `stop` prints nothing, as people know it."""
    server.replies["POST /api/generate"] = (200, [{"model": "m", "done": True, "done_reason": "unload"}])
    assert actorctl("stop", "m") == Result(0, "", "")
    assert actorctl("unload", "m") == Result(0, "unloaded 'm'\n", "")
    assert server.requests[0][1]["keep_alive"] == 0


def test_stop_of_unknown_model_names_it(server: Double, actorctl: Actorctl) -> None:
    """The text is the one that scripts look for."""
    server.replies["POST /api/generate"] = (404, [{"error": "model 'nope' not found"}])
    result = actorctl("stop", "nope")
    assert (result.status, result.err) == (1, 'Error: couldn\'t find model "nope" to stop\n')
