"""A simulated cluster around the scheduler's core: hosts with devices, runners that load and answer, clients that ask.

Discrete events on a clock of its own; everything random comes from one seed. Peers behave like the real ones: they beat
every second, launchers report what their devices have free, a drained runner ends when it is empty. What the core costs
is measured elsewhere, from the events that a simulation leaves in a file (`recorded_events`).
"""

import dataclasses
import heapq
import itertools
import random
from collections import deque
from pathlib import Path
from typing import BinaryIO

from actors.messages.gateway_to_scheduler import GatewayBeat, GatewayHello, JobKind, Submit
from actors.messages.launcher_to_scheduler import LauncherBeat, LauncherHello, RunnerExited
from actors.messages.model import Device, HostFacts, JobRef, LoadPlan, ModelSpec, RunnerUse
from actors.messages.runner_to_scheduler import JobEnded, Outcome, RunnerBeat, RunnerHello, RunnerReady, RunnerState
from actors.messages.scheduler_to_gateway import Granted, Refused
from actors.messages.scheduler_to_launcher import KillRunner, StartRunner
from actors.messages.scheduler_to_runner import Drain, Start
from actors.scheduler.events import Event, Note, Received, Send, Tick, Undelivered
from actors.scheduler.machine import Scheduler
from actors.scheduler.world import Eviction
from actors.settings import Settings
from tests.benchmarks.recorded_events import BODY, is_decision, write

GIB = 1 << 30
DEVICE_BYTES = 24 * GIB
_START_S, _EXIT_S, _BEAT_S = 0.05, 0.05, 1.0
_BYTES_PER_S = 2 * GIB


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is asked of which cluster."""

    n_hosts: int
    devices_per_host: int
    n_models: int
    n_jobs: int
    load: float
    """Share of all slots that the jobs would take if every device had a runner."""
    n_slots: int = 8
    service_s: float = 4.0
    zipf: float = 1.0
    sizes_gib: tuple[float, float] = (12.5, 17.0)
    """Bounds of the models' weights; by default a device holds one model."""
    seed: int = 1

    @property
    def n_devices(self) -> int:
        """How many runners there can be."""
        return self.n_hosts * self.devices_per_host


@dataclasses.dataclass(slots=True)
class Outcomes:
    """What a run gave."""

    n_decisions: int = 0
    """Grants, loads, evictions and refusals."""
    n_loads: int = 0
    n_reloads: int = 0
    """Loads of a model that had been loaded before and was evicted since."""
    reload_s: float = 0.0
    n_refused: int = 0
    most_runners: int = 0
    waits_s: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class _SimulatedRunner:
    order: StartRunner
    launcher_id: str
    devices: tuple[int, ...]
    state: RunnerState = RunnerState.LOADING
    jobs: dict[str, JobRef] = dataclasses.field(default_factory=dict)


def models_of(workload: Workload) -> list[ModelSpec]:
    """Make the models."""
    source = random.Random(workload.seed)  # noqa: S311 - a simulation shall repeat itself
    specs = []
    for number in range(workload.n_models):
        weights_bytes = int(source.uniform(*workload.sizes_gib) * GIB)
        specs.append(
            ModelSpec(
                key=f"model-{number}",
                name=f"model-{number}",
                digest="0" * 64,
                weights_path="/m",
                weights_bytes=weights_bytes,
                n_layers=32,
                n_ctx_train=2048,
                kv_bytes_per_token=20_000,
            )
        )
    return specs


class Simulation:
    """One run of a workload under one eviction policy."""

    def __init__(self, workload: Workload, eviction: Eviction, events: BinaryIO | None = None) -> None:
        self.now_s = 0.0
        self.outcomes = Outcomes()
        self._workload = workload
        self._source = random.Random(workload.seed)  # noqa: S311 - a simulation shall repeat itself
        self._core = Scheduler(epoch="e", settings=settings_for(workload), now_s=0.0)
        self._core.world.eviction = eviction
        self._events = events
        self._due: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()
        self._runners: dict[str, _SimulatedRunner] = {}
        self._used: dict[str, dict[int, int]] = {}
        self._arrivals: dict[str, float] = {}
        self._seen: set[str] = set()
        self._n_answered = 0
        self._deadline_s = 0.0

    def run(self) -> Outcomes:
        """Let everything happen until all jobs have ended."""
        self._happen(Received("gw", GatewayHello()))
        self._later(_BEAT_S, Received("gw", GatewayBeat()))
        for number in range(self._workload.n_hosts):
            launcher_id = f"host-{number}"
            self._used[launcher_id] = dict.fromkeys(range(self._workload.devices_per_host), 0)
            self._happen(Received(launcher_id, LauncherHello(host=self._facts(launcher_id))))
            self._later(
                _BEAT_S * self._source.random(), Received(launcher_id, LauncherBeat(host=self._facts(launcher_id)))
            )
        for arrives_s, submit in self._jobs():
            heapq.heappush(self._due, (arrives_s, next(self._numbers), Received("gw", submit, BODY)))
        while self._n_answered < self._workload.n_jobs:
            arrives_s, _, event = heapq.heappop(self._due)
            while self._deadline_s < arrives_s:
                self.now_s = max(self.now_s, self._deadline_s)
                self._happen(Tick())
            self.now_s = arrives_s
            self._meet(event)
        return self.outcomes

    def _jobs(self) -> list[tuple[float, Submit]]:
        """Draw the arrivals: Zipf popularity, bursts of one model asked ten times as often, a rise at first."""
        workload, source = self._workload, self._source
        specs = models_of(workload)
        weights = [1 / (rank + 1) ** workload.zipf for rank in range(len(specs))]
        rate = workload.load * workload.n_devices * workload.n_slots / workload.service_s
        at_s, burst_ends_s, jobs = 2.5, 0.0, []
        burst_weights = weights
        for number in range(workload.n_jobs):
            warming = min(1.0, (number + workload.n_jobs / 40) / (workload.n_jobs / 4))
            at_s += source.expovariate(rate * warming)
            if at_s > burst_ends_s:
                burst_ends_s = at_s + 20.0
                hot = source.randrange(len(specs))
                burst_weights = [weight * (10 if rank == hot else 1) for rank, weight in enumerate(weights)]
            is_burst = burst_ends_s - at_s > 15.0
            (spec,) = source.choices(specs, burst_weights if is_burst else weights)
            submit = Submit(
                job_id=str(number), attempt=1, kind=JobKind.GENERATE, model=spec, tenant=f"t{source.randrange(20)}"
            )
            jobs.append((at_s, submit))
        return jobs

    def _meet(self, event: Event) -> None:
        """Let a due event happen, unless its sender is gone; heartbeats come again."""
        if isinstance(event, Received):
            sender, message = event.sender, event.message
            if isinstance(message, Submit):
                self._arrivals[message.job_id] = self.now_s
            elif sender in self._used and isinstance(message, LauncherBeat):
                event = Received(sender, LauncherBeat(host=self._facts(sender)))
                self._later(_BEAT_S, event)
            elif isinstance(message, GatewayBeat):
                self._later(_BEAT_S, event)
            elif sender in self._runners:
                self._runner_speaks(self._runners[sender], event)
                return
            elif not isinstance(message, RunnerExited):
                return
        self._happen(event)

    def _runner_speaks(self, runner: _SimulatedRunner, event: Received) -> None:
        message = event.message
        if isinstance(message, RunnerBeat):
            event = Received(event.sender, RunnerBeat(state=runner.state, use=RunnerUse(n_active=len(runner.jobs))))
            self._later(_BEAT_S, event)
        elif isinstance(message, RunnerReady):
            runner.state = RunnerState.READY
            for index in runner.devices:
                self._used[runner.launcher_id][index] += runner.order.plan.size_bytes // len(runner.devices)
        elif isinstance(message, JobEnded):
            if runner.jobs.pop(message.job_id, None) is None:
                return
            self._n_answered += 1
        self._happen(event)
        if isinstance(message, JobEnded):
            self._end_if_drained(event.sender)

    def _happen(self, event: Event) -> None:
        events = deque([event])
        while events:
            event = events.popleft()
            if self._events is not None:
                write(self._events, event, self.now_s)
            effects = self._core.handle(event, self.now_s)
            self._deadline_s = self._core.next_deadline()
            self.outcomes.n_decisions += sum(is_decision(each) for each in effects)
            for effect in effects:
                if not isinstance(effect, Note) and not self._takes(effect):
                    events.append(Undelivered(effect))

    def _takes(self, effect: Send) -> bool:
        """Carry out what the core says; False when nobody is there to hear it."""
        message, outcomes = effect.message, self.outcomes
        match message:
            case Granted():
                outcomes.waits_s.append(self.now_s - self._arrivals.pop(message.job_id))
            case Refused():
                outcomes.n_refused += 1
                self._n_answered += 1
            case StartRunner():
                self._start(effect.peer, message)
            case KillRunner():
                self._end(message.runner_id)
            case Drain():
                self._runners[effect.peer].state = RunnerState.DRAINING
                self._end_if_drained(effect.peer)
            case Start() if effect.peer in self._runners:
                self._runners[effect.peer].jobs[message.job_id] = JobRef(message.job_id, message.attempt, "gw")
                ended = JobEnded(job_id=message.job_id, attempt=message.attempt, outcome=Outcome.FINISHED)
                self._later(self._source.expovariate(1 / self._workload.service_s), Received(effect.peer, ended))
            case Start():
                return False
            case _:
                pass
        return True

    def _start(self, launcher_id: str, order: StartRunner) -> None:
        plan, key, runner_id = order.plan, order.model.key, order.runner_id
        load_s = order.model.weights_bytes / _BYTES_PER_S
        self.outcomes.n_loads += 1
        if key in self._seen and not any(each.order.model.key == key for each in self._runners.values()):
            self.outcomes.n_reloads += 1
            self.outcomes.reload_s += load_s
        self._seen.add(key)
        self._runners[runner_id] = _SimulatedRunner(order, launcher_id, _devices_of(plan))
        self.outcomes.most_runners = max(self.outcomes.most_runners, len(self._runners))
        hello = RunnerHello(state=RunnerState.LOADING, model=order.model, plan=plan, endpoint="ipc:///r")
        ready = RunnerReady(load_s=load_s, size_bytes=plan.size_bytes, size_vram_bytes=plan.size_bytes)
        beat = RunnerBeat(state=RunnerState.LOADING, use=RunnerUse())
        self._later(_START_S, Received(runner_id, hello))
        self._later(_START_S + load_s, Received(runner_id, ready))
        self._later(_START_S + _BEAT_S * self._source.random(), Received(runner_id, beat))

    def _end_if_drained(self, runner_id: str) -> None:
        runner = self._runners.get(runner_id)
        if runner is not None and runner.state is RunnerState.DRAINING and not runner.jobs:
            self._end(runner_id)

    def _end(self, runner_id: str) -> None:
        runner = self._runners.pop(runner_id)
        if runner.state is not RunnerState.LOADING:
            for index in runner.devices:
                self._used[runner.launcher_id][index] -= runner.order.plan.size_bytes // len(runner.devices)
        self._later(_EXIT_S, Received(runner.launcher_id, RunnerExited(runner_id=runner_id, exit_code=0)))

    def _facts(self, launcher_id: str) -> HostFacts:
        devices = tuple(
            Device(index=index, name="d", total_bytes=DEVICE_BYTES, free_bytes=max(0, DEVICE_BYTES - used))
            for index, used in self._used[launcher_id].items()
        )
        jitter = self._source.randrange(16 << 20)
        return HostFacts(
            n_cores=32, memory_total_bytes=256 * GIB, memory_available_bytes=200 * GIB - jitter, devices=devices
        )

    def _later(self, delay_s: float, event: Event) -> None:
        heapq.heappush(self._due, (self.now_s + delay_s, next(self._numbers), event))


def _devices_of(plan: LoadPlan) -> tuple[int, ...]:
    split = tuple(index for index, share in enumerate(plan.tensor_split) if share > 0)
    return split or (plan.main_gpu or 0,)


def simulate(workload: Workload, eviction: Eviction, events: BinaryIO | None = None) -> Outcomes:
    """Run a workload, and keep all that happens to the core in a file."""
    return Simulation(workload, eviction, events).run()


def settings_for(workload: Workload) -> Settings:
    """Give the scheduler's settings."""
    return Settings(
        run_dir=Path("/run/simulated"),
        scheduler_endpoint="ipc:///run/simulated/s",
        num_parallel=workload.n_slots,
        max_queue=100_000,
        context_length=2048,
    )
