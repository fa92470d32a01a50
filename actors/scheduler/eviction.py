"""Eviction: which loaded models make room for one that waits, and at what cost. Pure.

The cost of an eviction is the time to load the model again, times the likelihood that it is wanted again before it
would have expired anyway. A model with several ready runners loses one the more cheaply the more there are. Only
runners that serve nothing are chosen, never pinned ones. A model that waited its turn out (`deadlines.TURN_S`) may
also have a busy one: it is drained, so its jobs run to their end, it only takes no more.
"""

from collections.abc import Callable, Iterable

from actors.scheduler.record import Record
from actors.scheduler.runner import Runner
from actors.scheduler.states import RunnerLife


def reload_cost_s(runner: Runner, record: Record, n_ready: int, now_s: float) -> float:
    """Give the expected seconds that an eviction costs later requests."""
    left_s = float("inf") if runner.is_permanent else runner.expires_s - now_s
    return record.usual_load_s * record.likelihood(now_s, within_s=left_s) / max(1, n_ready)


def least_recently_used(runner: Runner, _record: Record, _n_ready: int, now_s: float) -> float:
    """Give the cost by which the longest idle goes first: what benchmarks compare with."""
    return 1.0 / (1.0 + now_s - runner.idle_since_s)


def reluctance(runner: Runner) -> int:
    """Say in how far somebody wants a runner to stay: 0 not more than others, 1 for ever, 2 until it is idle."""
    return 2 if not runner.is_idle else int(runner.is_permanent)


def victims_in_order(
    runners: Iterable[Runner], cost_s: Callable[[Runner], float], *, may_be_busy: bool = False
) -> list[Runner]:
    """List the runners that may go, cheapest first.

    Models without an end to their allowance come behind those with one, busy ones behind all idle ones; among equals
    the longest idle goes first.
    """
    candidates = [
        runner
        for runner in runners
        if not runner.is_pinned and (runner.is_idle or (may_be_busy and runner.life is RunnerLife.READY))
    ]
    return sorted(
        candidates,
        key=lambda runner: (
            reluctance(runner),
            cost_s(runner),
            runner.idle_since_s,
            runner.runner_id,
        ),
    )
