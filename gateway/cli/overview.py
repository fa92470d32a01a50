"""The tables of `actorctl top` and the further columns of `ps`, from what `/api/status` and `/api/ps` answer."""

from collections.abc import Sequence

from gateway.cli import text
from gateway.cli.client import Json

_MOST_NOTES = 8
_HOSTS = ("HOST", "CORES", "MEMORY FREE", "DEVICES", "RUNNERS", "")
_RUNNERS = ("RUNNER", "MODEL", "STATE", "SLOTS", "QUEUE", "KV", "TOKENS/S", "THREADS", "SIZE", "PLACEMENT", "WHY")
_WAITING = ("WAITS FOR", "PLACE", "WAITED", "STILL", "PRIORITY", "TENANT", "JOB")


def overview_text(overview: Json, *, width: int) -> str:
    """Write hosts, runners, the queue, troubled models and the last notes; lines are cut at `width`, 0 for never."""
    parts = [
        text.table(_HOSTS, [_host(each) for each in overview["hosts"]]),
        text.table(_RUNNERS, [_runner(each) for each in overview["runners"]]),
    ]
    if overview["waiting"]:
        parts.append(text.table(_WAITING, [_waiter(each) for each in overview["waiting"]]))
    troubles = [_trouble(each) for each in overview["models"] if each["n_deaths"]]
    notes = overview["notes"][-_MOST_NOTES:]
    parts += ["".join(f"{line}\n" for line in lines) for lines in (troubles, notes) if lines]
    lines = "\n".join(parts).splitlines()
    return "".join(f"{line.rstrip()[: width or None]}\n" for line in lines)


def loaded_columns(model: Json) -> tuple[str, ...]:
    """Give what `ps` shows of a model beyond Ollama's columns; nothing for a server that does not tell."""
    ours = model.get("llamactor")
    if not isinstance(ours, dict) or "placement" not in ours:
        return ()
    pinned = " (pinned)" if ours.get("pinned") else ""
    return (
        f"{ours['active']}/{ours['slots']}",
        str(ours["queued"]),
        str(ours["kv_tokens"]),
        f"{ours['tokens_per_s']:.1f}",
        f"{ours['placement']}{pinned}",
        ours["why"],
    )


LOADED_COLUMNS = ("SLOTS", "QUEUE", "KV", "TOKENS/S", "PLACEMENT", "WHY")


def _host(host: Json) -> Sequence[str]:
    facts = host["facts"]
    devices = ", ".join(f"{each['name']} {text.human_size(each['free_bytes'])} free" for each in facts["devices"])
    return (
        host["launcher_id"],
        str(facts["n_cores"]),
        text.human_size(facts["memory_available_bytes"]),
        devices or "-",
        str(host["n_runners"]),
        "draining" if host["is_draining"] else "",
    )


def _runner(runner: Json) -> Sequence[str]:
    use = runner["use"]
    state = runner["state"] + (" (pinned)" if runner["is_pinned"] else "")
    return (
        runner["runner_id"],
        runner["name"],
        state,
        f"{runner['n_held']}/{runner['n_slots']}",
        str(runner["n_queued"]),
        str(use["kv_used_tokens"]),
        f"{use['decode_tokens_per_s']:.1f}",
        _threads(used=use["n_threads"], budget=runner["n_threads"]),
        text.human_size(runner["size_bytes"]),
        runner["where"],
        runner["cause"],
    )


def _threads(*, used: int, budget: int) -> str:
    return f"{used} of {budget}" if 0 < used < budget else str(budget)


def _waiter(waiter: Json) -> Sequence[str]:
    place = "load" if waiter["place"] is None else str(waiter["place"] + 1)
    still = f"{waiter['wait_s']:.0f} s"
    return (
        waiter["name"],
        place,
        f"{waiter['waited_s']:.0f} s",
        still,
        str(waiter["priority"]),
        waiter["tenant"],
        waiter["job_id"],
    )


def _trouble(model: Json) -> str:
    until = f", suspended for {model['suspended_for_s']:.0f} s" if model["suspended_for_s"] else ""
    return f"{model['name']}: {model['n_deaths']} failures in a row{until}: {model['last_failure']}"
