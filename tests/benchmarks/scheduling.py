"""The scheduler's core alone, in a simulated cluster: decisions per second, and its evictions against plain LRU.

Three clusters of growing size get the same load and the same number of jobs per runner, to see whether a decision costs
the same: what happens to the core in a simulation is handed to another core, in a fresh process (`recorded_events`),
several times, the sizes in turn. The least counts: others that share the processor's caches can only add to it, and do
so for minutes at a time. The calls that it takes are counted, too.

Then clusters short of memory show what eviction by cost is worth: the same jobs, once with it, once with the longest
idle model going first.

A decision is a grant, a load, an eviction or a refusal. Arrivals, ends of jobs, the heartbeats of every peer and
alarms decide nothing; they are not counted, and what they cost is part of the cost of the decisions.

The plot goes to `scheduling.svg` in the working directory.
"""

import dataclasses
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from operator import attrgetter
from pathlib import Path

from actors.scheduler.eviction import least_recently_used, reload_cost_s
from tests.benchmarks.effort import Effort
from tests.benchmarks.numbers import percentile
from tests.benchmarks.plot import Line, plot
from tests.benchmarks.progress import progress
from tests.benchmarks.recorded_events import Costs, calls_per_decision, replayed
from tests.benchmarks.results import Section, Table, at_least, at_most
from tests.benchmarks.simulated_cluster import Outcomes, Workload, settings_for, simulate

NAME = "scheduling"
_PLOT = Path("scheduling.svg")
_LEAST_PER_S = 20_000
_SAME_WORK = 1.05
"""With hundredfold runners a decision may take so many times as many calls."""
_FLAT = 1.25
"""It may take so many times as long."""
_LOAD = 0.7
"""With less, some devices of a large cluster stay empty, since no line is long enough for one more runner."""
_REPLAYS = 5
_SHARES = tuple(number / 50 for number in range(1, 51))


@dataclasses.dataclass(frozen=True, slots=True)
class _Grown:
    """What clusters of one size gave."""

    workload: Workload
    paths: list[Path]
    """What happened, a file for each run."""
    runs: list[Outcomes]
    calls: float
    """Calls of functions for a decision."""
    replays: list[Costs] = dataclasses.field(default_factory=list)

    @property
    def costs(self) -> Costs:
        """The least."""
        return max(self.replays, key=attrgetter("decisions_per_s"))

    @property
    def n_runners(self) -> int:
        """The most that lived at once."""
        return max(each.most_runners for each in self.runs)


def run(effort: Effort) -> Section:
    """Simulate everything and draw the plot."""
    n_jobs = effort.simulated_jobs
    with tempfile.TemporaryDirectory() as folder:
        grown = [_grown(workload, n_times, Path(folder)) for workload, n_times in _growing(n_jobs)]
        for number in range(_REPLAYS):
            progress(f"{NAME}: replay {number + 1} of {_REPLAYS}")
            for each in grown:
                each.replays.append(_replay(each))
    alike = Workload(n_hosts=10, devices_per_host=2, n_models=50, n_jobs=n_jobs // 10, load=0.15, zipf=1.2)
    mixed = dataclasses.replace(alike, n_hosts=4, sizes_gib=(1.0, 18.0))
    policies = {}
    for name, eviction in (("by cost", reload_cost_s), ("plain LRU", least_recently_used)):
        for sizes, tight in (("alike", alike), ("mixed", mixed)):
            progress(f"{NAME}: evictions {name}, sizes {sizes}")
            policies[sizes, name] = simulate(tight, eviction)
    spent_s = {name: sum(found.reload_s for (_, by), found in policies.items() if by == name) for _, name in policies}
    _draw(policies)
    few, many = grown[0], grown[-1]
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
            at_least(
                f"decisions with {many.n_runners} runners", many.costs.decisions_per_s, _LEAST_PER_S, "per second"
            ),
            at_most(
                f"work of a decision with {many.n_runners} runners",
                many.calls / few.calls,
                _SAME_WORK,
                f"times that with {few.n_runners}",
            ),
            at_most(
                f"time of a decision with {many.n_runners} runners",
                few.costs.decisions_per_s / many.costs.decisions_per_s,
                _FLAT,
                f"times that with {few.n_runners}",
            ),
            at_most(
                "time spent in reloads",
                spent_s["by cost"] / max(1.0, spent_s["plain LRU"]),
                1.0,
                "times that of plain LRU",
            ),
        ),
    )


def _grown(workload: Workload, n_times: int, folder: Path) -> _Grown:
    progress(f"{NAME}: {workload.n_devices} devices, {n_times} times {workload.n_jobs} jobs")
    paths = [folder / f"{workload.n_devices}-{number}" for number in range(n_times)]
    runs = []
    for number, path in enumerate(paths):
        with path.open("wb") as events:
            runs.append(simulate(dataclasses.replace(workload, seed=number + 1), reload_cost_s, events))
    return _Grown(workload, paths, runs, calls_per_decision(paths, settings_for(workload)))


def _replay(grown: _Grown) -> Costs:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:  # as a scheduler's process is
        workload = grown.workload
        costs = fresh.submit(replayed, grown.paths, settings_for(workload), workload.n_jobs).result()
    if costs.n_decisions + costs.n_later != sum(each.n_decisions for each in grown.runs):
        raise AssertionError("the same events led to other decisions")
    return costs


def _growing(n_jobs: int) -> list[tuple[Workload, int]]:
    """Give clusters that differ in size alone, and how often each is run: the small ones are over too soon."""
    return [
        (Workload(n_hosts=2, devices_per_host=5, n_models=1, n_jobs=n_jobs // 100, load=_LOAD), 20),
        (Workload(n_hosts=20, devices_per_host=5, n_models=5, n_jobs=n_jobs // 10, load=_LOAD), 3),
        (Workload(n_hosts=200, devices_per_host=5, n_models=50, n_jobs=n_jobs, load=_LOAD), 1),
    ]


def _costs(grown: list[_Grown]) -> Table:
    header = (
        *("runners", "hosts", "models", "jobs", "decisions", "events", "calls a decision"),
        *("decisions/s", "µs a decision", "the median", "µs an event", "wait p99 s", "longest event ms"),
    )
    rows = tuple(
        (
            str(each.n_runners),
            str(each.workload.n_hosts),
            str(each.workload.n_models),
            str(sum(len(run.waits_s) for run in each.runs)),
            str(each.costs.n_decisions),
            str(each.costs.n_events),
            f"{each.calls:.0f}",
            f"{each.costs.decisions_per_s:,.0f}",
            f"{1e6 / each.costs.decisions_per_s:.1f}",
            f"{1e6 / percentile([costs.decisions_per_s for costs in each.replays], 0.5):.1f}",
            f"{1e6 * each.costs.core_s / each.costs.n_events:.1f}",
            f"{percentile([wait_s for run in each.runs for wait_s in run.waits_s], 0.99):.1f}",
            f"{each.costs.longest_s * 1e3:.1f}",
        )
        for each in grown
    )
    return Table(header=header, rows=rows)


def _comparison(policies: dict[tuple[str, str], Outcomes]) -> Table:
    header = ("sizes", "eviction", "loads", "reloads", "seconds spent in reloads", "wait mean s", "wait p99 s")
    rows = tuple(
        (
            sizes,
            name,
            str(found.n_loads),
            str(found.n_reloads),
            f"{found.reload_s:.0f}",
            f"{sum(found.waits_s) / len(found.waits_s):.2f}",
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
