"""Tests of `top`, `pin`, `drain` and the further columns of `ps`."""

import json
from collections.abc import Callable
from typing import Any

from tests.cli.conftest import Result
from tests.cli.double import Double

Actorctl = Callable[..., Result]

RUNNER = {
    "runner_id": "e-1",
    "name": "pirate:latest",
    "state": "ready",
    "n_held": 2,
    "n_slots": 8,
    "n_queued": 1,
    "n_threads": 2,
    "size_bytes": 209_000_000,
    "is_pinned": True,
    "where": "host: it has no devices",
    "cause": "a request of gw-1",
    "use": {"kv_used_tokens": 77, "decode_tokens_per_s": 99.25, "n_threads": 1},
}
STATUS: dict[str, Any] = {
    "hosts": [
        {
            "launcher_id": "box-1",
            "facts": {"n_cores": 2, "memory_available_bytes": 12_000_000_000, "devices": []},
            "n_runners": 1,
            "is_draining": False,
        }
    ],
    "runners": [RUNNER],
    "waiting": [
        {
            "job_id": "j1",
            "name": "pirate:latest",
            "tenant": "address:127.0.0.1",
            "priority": 1,
            "waited_s": 3.2,
            "place": 0,
            "wait_s": 4.8,
        }
    ],
    "models": [
        {
            "name": "bad:latest",
            "load_s": 0,
            "service_s": 0,
            "n_deaths": 5,
            "suspended_for_s": 29.6,
            "last_failure": "killed by signal 9",
        }
    ],
    "notes": ["loaded pirate:latest in 0.20 s: runner e-1"],
}


def test_top_once_prints_hosts_runners_queue_troubles_and_notes(server: Double, actorctl: Actorctl) -> None:
    """Everything that the scheduler tells, as tables."""
    server.replies["GET /api/status"] = (200, [STATUS])
    lines = actorctl("top", "--once").out.splitlines()
    assert lines[0].split()[:2] == ["HOST", "CORES"]
    assert lines[1].split()[0] == "box-1"
    (runner,) = [line for line in lines if line.startswith("e-1")]
    assert all(part in runner for part in ("pirate:latest", "2/8", "77", "99.2", "1 of 2", "no devices", "a request"))
    (waiter,) = [line for line in lines if line.endswith("j1")]
    assert waiter.split()[:6] == ["pirate:latest", "1", "3", "s", "5", "s"]
    assert "bad:latest: 5 failures in a row, suspended for 30 s: killed by signal 9" in lines
    assert lines[-1] == STATUS["notes"][0]
    assert json.loads(actorctl("top", "--once", "--json").out) == STATUS


def test_top_refuses_an_interval_that_floods(server: Double, actorctl: Actorctl) -> None:
    """Before asking."""
    assert actorctl("top", "--interval", "0").status == 1
    assert actorctl("top", "--interval", "nan").status == 1
    assert server.requests == []


def test_ps_of_our_own_server_shows_slots_queue_cache_speed_and_placement(server: Double, actorctl: Actorctl) -> None:
    """Behind the columns that people know."""
    ours = {
        "slots": 8,
        "active": 2,
        "queued": 1,
        "kv_tokens": 77,
        "tokens_per_s": 99.2,
        "placement": "host: it has no devices",
        "why": "a request of gw-1",
        "pinned": True,
    }
    model = {"name": "m:latest", "digest": "0" * 64, "size": 1, "context_length": 1, "llamactor": ours}
    server.replies["GET /api/ps"] = (200, [{"models": [model | {"expires_at": "2026-01-01T00:00:00Z"}]}])
    header, row = actorctl("ps").out.splitlines()
    assert header.split()[-6:] == ["SLOTS", "QUEUE", "KV", "TOKENS/S", "PLACEMENT", "WHY"]
    assert "2/8      1        77    99.2        host: it has no devices (pinned)    a request of gw-1" in row


def test_pin_and_drain_say_what_they_did(server: Double, actorctl: Actorctl) -> None:
    """Both may be undone."""
    server.replies["POST /api/pin"] = (200, [{"model": "m:latest", "pinned": True, "runners": 1}])
    server.replies["POST /api/drain"] = (200, [{"target": "box-1", "draining": True, "runners": 2}])
    assert actorctl("pin", "m").out == "pinned 'm'\n"
    assert actorctl("pin", "m", "--off").out == "unpinned 'm'\n"
    assert actorctl("drain", "box-1").out == "draining 'box-1': 2 runners\n"
    assert actorctl("drain", "box-1", "--off").out == "'box-1' takes models again\n"
    assert server.asked("POST /api/pin") == [{"model": "m", "pin": True}, {"model": "m", "pin": False}]
