"""Thread budgets: cores are placed like memory. Pure.

Measured on two cores: one runner alone makes 102 tokens/s; two with two threads each 22 + 22, with one each 58 + 57.
So the cores of a host are divided among the runners that are busy or loading, and given back when they are not.
"""

from collections.abc import Mapping


def thread_budgets(n_cores: int, demands: Mapping[str, int | None]) -> dict[str, int]:
    """Divide the cores of a host.

    Args:
        n_cores: physical cores that the host's runners may use.
        demands: the busy runners, oldest first, each with the number of threads that a request named for it, or None.

    Returns:
        Threads per runner, at least one each. Named numbers are kept, though never above the cores there are: more
        threads than cores only wait for each other. The rest is divided evenly, the oldest getting what is left over.
    """
    named = {runner_id: min(n, max(1, n_cores)) for runner_id, n in demands.items() if n is not None}
    open_ids = [runner_id for runner_id, n in demands.items() if n is None]
    if not open_ids:
        return named
    each, left_over = divmod(max(0, n_cores - sum(named.values())), len(open_ids))
    budgets = {runner_id: max(1, each + (place < left_over)) for place, runner_id in enumerate(open_ids)}
    return named | budgets
