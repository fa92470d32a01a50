"""The scheduler's core alone, in a simulated cluster: decisions per second, and its evictions against plain LRU.

Three clusters of growing size get the same load and the same number of jobs per runner, to see whether a decision costs
the same. Then clusters short of memory show what eviction by cost is worth: the same jobs, once with it, once with the
longest idle model going first. Processor time is counted in the core's calls alone.

A decision is a grant, a load, an eviction or a refusal. Arrivals, ends of jobs, the heartbeats of every peer and
alarms decide nothing; they are not counted, and what they cost is part of the cost of the decisions.

The plot goes to `scheduling.svg` in the working directory.
"""

import dataclasses
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from actors.scheduler.eviction import least_recently_used, reload_cost_s
from tests.benchmarks.effort import Effort
from tests.benchmarks.numbers import percentile
from tests.benchmarks.plot import Line, plot
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_least, at_most
from tests.benchmarks.simulated_cluster import Outcomes, Workload, simulate, together

NAME = "scheduling"
_PLOT = Path("scheduling.svg")
_LEAST_PER_S = 20_000
_FLAT = 1.8
"""Hundredfold runners may cost a decision so many times more: no processor cache holds the larger world."""
_SHARES = tuple(number / 50 for number in range(1, 51))


def run(effort: Effort) -> Section:
    """Simulate everything and draw the plot."""
    n_jobs = effort.simulated_jobs
    grown = {}
    for workload, n_times in _growing(n_jobs):
        progress(f"{NAME}: {workload.n_devices} runners, {workload.n_jobs} jobs")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:  # as a scheduler's process is
            grown[workload.n_devices] = workload, fresh.submit(_several, workload, n_times).result()
    alike = Workload(n_hosts=10, devices_per_host=2, n_models=50, n_jobs=n_jobs // 10, load=0.15, zipf=1.2)
    mixed = dataclasses.replace(alike, n_hosts=4, sizes_gib=(1.0, 18.0))
    policies = {}
    for name, eviction in (("by cost", reload_cost_s), ("plain LRU", least_recently_used)):
        for sizes, tight in (("alike", alike), ("mixed", mixed)):
            progress(f"{NAME}: evictions {name}, sizes {sizes}")
            policies[sizes, name] = simulate(tight, eviction)
    spent_s = {name: sum(found.reload_s for (_, by), found in policies.items() if by == name) for _, name in policies}
    _draw(policies)
    few, many = min(grown), max(grown)
    per_s = {size: outcomes.decisions_per_s for size, (_, outcomes) in grown.items()}
    return Section(
        name=NAME,
        title="The scheduler's core in a simulated cluster",
        notes=(
            "Zipf popularity with bursts",
            "second table: 50 models of 12 to 17 GiB for 20 devices of 24 GiB, or of 1 to 18 GiB for 8",
            f"plot: {_PLOT}",
        ),
        tables=(_costs(grown), _comparison(policies)),
        gates=(
            at_least(f"decisions with {many} runners", per_s[many], _LEAST_PER_S, "per second"),
            at_most(
                f"cost of a decision with {many} runners", per_s[few] / per_s[many], _FLAT, f"times that with {few}"
            ),
            at_most(
                "time spent in reloads",
                spent_s["by cost"] / max(1.0, spent_s["plain LRU"]),
                1.0,
                "times that of plain LRU",
            ),
        ),
    )


def _several(workload: Workload, n_times: int) -> Outcomes:
    return together([simulate(dataclasses.replace(workload, seed=n + 1), reload_cost_s) for n in range(n_times)])


def _growing(n_jobs: int) -> list[tuple[Workload, int]]:
    """Give clusters that differ in size alone, and how often each is run: the small ones are over too soon."""
    return [
        (Workload(n_hosts=2, devices_per_host=5, n_models=1, n_jobs=n_jobs // 100, load=0.6), 20),
        (Workload(n_hosts=20, devices_per_host=5, n_models=5, n_jobs=n_jobs // 10, load=0.6), 3),
        (Workload(n_hosts=200, devices_per_host=5, n_models=50, n_jobs=n_jobs, load=0.6), 1),
    ]


def _costs(grown: dict[int, tuple[Workload, Outcomes]]) -> Table:
    header = (
        *("runners", "hosts", "models", "jobs", "decisions", "events", "decisions/s", "µs a decision", "µs an event"),
        *("wait p99 s", "longest event ms"),
    )
    rows = tuple(
        (
            str(found.most_runners),
            str(workload.n_hosts),
            str(workload.n_models),
            str(len(found.waits_s)),
            str(found.n_decisions),
            str(found.n_events),
            f"{found.decisions_per_s:,.0f}",
            f"{1e6 / found.decisions_per_s:.1f}",
            f"{1e6 * found.core_s / found.n_events:.1f}",
            f"{percentile(found.waits_s, 0.99):.1f}",
            f"{found.longest_s * 1e3:.0f}",
        )
        for workload, found in grown.values()
    )
    return Table(header=header, rows=rows)


def _comparison(policies: dict[tuple[str, str], Outcomes]) -> Table:
    header = ("sizes", "eviction", "loads", "reloads", "seconds spent in reloads", "wait p50 s", "wait p99 s")
    rows = tuple(
        (
            sizes,
            name,
            str(found.n_loads),
            str(found.n_reloads),
            f"{found.reload_s:.0f}",
            f"{percentile(found.waits_s, 0.5):.1f}",
            f"{percentile(found.waits_s, 0.99):.1f}",
        )
        for (sizes, name), found in sorted(policies.items())
    )
    return Table(header=header, rows=rows)


def _draw(policies: dict[tuple[str, str], Outcomes]) -> None:
    lines = [
        Line(f"{name}, sizes {sizes}", tuple((percentile(found.waits_s, share), share * 100) for share in _SHARES))
        for (sizes, name), found in sorted(policies.items())
    ]
    text = plot(lines, title="Waits in a cluster that is short of memory", x="seconds waited", y="per cent of jobs")
    _PLOT.write_text(text, encoding="utf-8")
