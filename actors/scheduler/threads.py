"""Thread budgets: cores are placed like memory. Pure.

Measured on two cores: one runner alone makes 115 tokens/s; two with one thread each 153 together; two that took two
threads each 1.2, because threads wait awake for others that have no core. So the cores of a host are divided among the
runners that are busy or loading, and given back when they are not. What other programs take, each runner sees by
itself (`runners/threads.py`).
"""

from collections.abc import Mapping


def thread_budgets(n_cores: int, demands: Mapping[str, int | None]) -> dict[str, int]:
    """Divide the cores of a host.

    Args:
        n_cores: physical cores that the host's runners may use.
        demands: the busy runners, oldest first, each with the number of threads that a request named for it, or None.

    Returns:
        Threads per runner, at least one each. Named numbers are kept where they leave a core for every other runner,
        and the rest is divided evenly, the oldest getting what is left over. Where they do not, they are what a runner
        gets at most: more threads than cores only wait for each other.
    """
    wanted = {runner_id: min(n, n_cores) for runner_id, n in demands.items() if n is not None}
    n_open = len(demands) - len(wanted)
    least = wanted if sum(wanted.values()) + n_open <= n_cores else {}
    budgets = {runner_id: max(1, least.get(runner_id, 1)) for runner_id in demands}
    growing = [runner_id for runner_id in demands if runner_id not in least]
    left = n_cores - sum(budgets.values())
    while left > 0 and growing:
        growing = [each for each in growing if budgets[each] < wanted.get(each, n_cores)]
        for runner_id in growing[:left]:
            budgets[runner_id] += 1
        left -= len(growing[:left])
    return budgets
