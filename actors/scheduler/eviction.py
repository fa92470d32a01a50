"""Eviction: which loaded models make room for one that waits. Pure.

Only runners that serve nothing are chosen. A model that waited its turn out (`deadlines.TURN_S`) may also have a busy
one: it is drained, so its jobs run to their end, it only takes no more.
"""

from collections.abc import Iterable

from actors.scheduler.runner import Runner
from actors.scheduler.states import RunnerLife


def victims_in_order(runners: Iterable[Runner], *, may_be_busy: bool = False) -> list[Runner]:
    """List the runners that may go, cheapest first.

    Cheap is what would expire soonest, which among equal allowances is the least recently used; models without an
    end to their allowance come last, busy ones behind all idle ones.
    """
    candidates = [runner for runner in runners if runner.is_idle or (may_be_busy and runner.life is RunnerLife.READY)]
    return sorted(candidates, key=_cost)


def _cost(runner: Runner) -> tuple[bool, bool, float, str]:
    when_s = runner.idle_since_s if runner.is_permanent else runner.expires_s
    return (not runner.is_idle, runner.is_permanent, when_s, runner.runner_id)
