"""The scheduler's core alone, in a simulated cluster: decisions per second, and its evictions against plain LRU.

Three clusters of growing size get the same load per runner, to see whether a decision costs the same. Then a cluster
with room for two fifths of its models shows what eviction by cost is worth: the same jobs, once with it, once with the
longest idle model going first. Processor time is counted in the core's calls alone.

The plot goes to `scheduling.svg` in the working directory.
"""

from pathlib import Path

from actors.scheduler.eviction import least_recently_used, reload_cost_s
from tests.benchmarks.effort import Effort
from tests.benchmarks.numbers import percentile
from tests.benchmarks.plot import Line, plot
from tests.benchmarks.progress import progress
from tests.benchmarks.results import Section, Table, at_least, at_most
from tests.benchmarks.simulated_cluster import Outcomes, Workload, simulate

NAME = "scheduling"
_PLOT = Path("scheduling.svg")
_LEAST_PER_S = 20_000
_FLAT = 3.0
"""Hundredfold runners may cost a decision so many times more: caches hold less of a larger world."""
_SHARES = tuple(number / 50 for number in range(1, 51))


def run(effort: Effort) -> Section:
    """Simulate everything and draw the plot."""
    n_jobs = effort.simulated_jobs
    sizes = {each.n_devices: each for each in _growing(n_jobs)}
    grown = {}
    for n_runners, workload in sizes.items():
        progress(f"{NAME}: {n_runners} runners, {workload.n_jobs} jobs")
        grown[n_runners] = simulate(workload, reload_cost_s)
    tight = Workload(n_hosts=10, devices_per_host=2, n_models=50, n_jobs=n_jobs // 10, load=0.15, zipf=1.2)
    policies = {}
    for name, eviction in (("by cost", reload_cost_s), ("plain LRU", least_recently_used)):
        progress(f"{NAME}: evictions {name}")
        policies[name] = simulate(tight, eviction)
    _draw(policies)
    few, many = min(grown), max(grown)
    ratio = grown[few].decisions_per_s / grown[many].decisions_per_s
    return Section(
        name=NAME,
        title="The scheduler's core in a simulated cluster",
        notes=(
            f"Zipf popularity with bursts; {tight.n_models} models for {tight.n_devices} devices in the second table",
            f"plot: {_PLOT}",
        ),
        tables=(_costs(sizes, grown), _comparison(policies)),
        gates=(
            at_least(f"decisions with {many} runners", grown[many].decisions_per_s, _LEAST_PER_S, "per second"),
            at_most(f"cost of a decision with {many} runners", ratio, _FLAT, f"times that with {few}"),
            at_most(
                "time spent in reloads",
                policies["by cost"].reload_s / max(1.0, policies["plain LRU"].reload_s),
                1.0,
                "times that of plain LRU",
            ),
        ),
    )


def _growing(n_jobs: int) -> list[Workload]:
    return [
        Workload(n_hosts=2, devices_per_host=5, n_models=2, n_jobs=n_jobs // 20, load=0.6),
        Workload(n_hosts=20, devices_per_host=5, n_models=5, n_jobs=n_jobs // 4, load=0.6),
        Workload(n_hosts=200, devices_per_host=5, n_models=50, n_jobs=n_jobs, load=0.6),
    ]


def _costs(sizes: dict[int, Workload], grown: dict[int, Outcomes]) -> Table:
    header = ("runners", "hosts", "models", "jobs", "decisions", "events", "decisions/s", "µs a decision", "wait p99 s")
    rows = tuple(
        (
            str(found.most_runners),
            str(sizes[size].n_hosts),
            str(sizes[size].n_models),
            str(sizes[size].n_jobs),
            str(found.n_decisions),
            str(found.n_events),
            f"{found.decisions_per_s:,.0f}",
            f"{1e6 / found.decisions_per_s:.1f}",
            f"{percentile(found.waits_s, 0.99):.1f}",
        )
        for size, found in grown.items()
    )
    return Table(header=header, rows=rows)


def _comparison(policies: dict[str, Outcomes]) -> Table:
    header = ("eviction", "loads", "reloads", "seconds spent in reloads", "wait p50 s", "wait p99 s")
    rows = tuple(
        (
            name,
            str(found.n_loads),
            str(found.n_reloads),
            f"{found.reload_s:.0f}",
            f"{percentile(found.waits_s, 0.5):.1f}",
            f"{percentile(found.waits_s, 0.99):.1f}",
        )
        for name, found in policies.items()
    )
    return Table(header=header, rows=rows)


def _draw(policies: dict[str, Outcomes]) -> None:
    lines = [
        Line(name, tuple((percentile(found.waits_s, share), share * 100) for share in _SHARES))
        for name, found in policies.items()
    ]
    text = plot(lines, title="Waits in a cluster that is short of memory", x="seconds waited", y="per cent of jobs")
    _PLOT.write_text(text, encoding="utf-8")
