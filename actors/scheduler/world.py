"""The scheduler's state: tables of peers, runners and jobs, the queue, the alarms, and the effects being collected.

The core (`machine.Scheduler`) owns the only `World`; the modules beside it are functions over it, one per concern.
They mark what has changed (`woken`, `opened`, `touched`, `vacated`) and the core acts on the marks once per event, so
that an event costs what it concerns and not the size of the cluster.

Bounds: jobs ≤ waiting (`queue`) + slots of all runners; `ended_jobs`, `exited_runners` and `records` forget their
oldest beyond some thousands; everything else is bounded by the number of living peers.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from actors.errors import Failure
from actors.messages.model import ModelSpec
from actors.messages.scheduler_to_gateway import Refused, Welcome
from actors.scheduler.alarms import AlarmKind, Alarms
from actors.scheduler.ended import EndedJobs
from actors.scheduler.events import Effect, Note, Send
from actors.scheduler.eviction import reload_cost_s
from actors.scheduler.fleet import Fleet
from actors.scheduler.job import Job
from actors.scheduler.memory import Share
from actors.scheduler.peers import Gateway, Launcher
from actors.scheduler.queue import WaitQueue
from actors.scheduler.record import Record
from actors.scheduler.remembered import Remembered
from actors.scheduler.runner import Runner
from actors.scheduler.states import JobStep, RunnerLife, RunnerStep, next_job_life
from actors.scheduler.warmth import Warmth
from actors.settings import Settings

_REMEMBERED = 4096
_ENDED_KEPT = 1024
"""A gateway offers no attempt twice, so this is for what crosses on its way: about a second's with 1,000 runners."""
_NOTES_KEPT = 64
_NO_FLEET = Fleet()

Eviction = Callable[[Runner, Record, int, float], float]
"""The expected seconds that it costs to evict a runner of a model with this record and so many ready runners, now."""


@dataclass(slots=True, eq=False)
class World:
    """All that the scheduler knows."""

    epoch: str
    settings: Settings
    now_s: float
    queue: WaitQueue
    gateways: dict[str, Gateway] = field(default_factory=dict)
    launchers: dict[str, Launcher] = field(default_factory=dict)
    n_places: int = 0
    """How many devices all launchers have together, hosts without counted as one."""
    runners: dict[str, Runner] = field(default_factory=dict)
    fleets: dict[str, Fleet] = field(default_factory=dict)
    """The same runners by the key of their model."""
    idle: dict[str, Runner] = field(default_factory=dict)
    """Those that are ready and hold nothing, the longest idle first."""
    n_leaving: int = 0
    """How many of them are draining or dying."""
    records: OrderedDict[str, Record] = field(default_factory=OrderedDict)
    """What is known of models by their key."""
    warmth: Warmth = field(default_factory=Warmth)
    pinned: dict[str, None] = field(default_factory=dict)
    """Keys of models that are never evicted and never expire."""
    eviction: Eviction = reload_cost_s
    jobs: dict[str, Job] = field(default_factory=dict)
    """Admitted and not ended."""
    bodies: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    """Payloads by the id of their job, while that is in the queue: a runner that was given the job holds its body."""
    alarms: Alarms = field(default_factory=Alarms)
    ended_jobs: EndedJobs = field(default_factory=lambda: EndedJobs(_ENDED_KEPT))
    exited_runners: Remembered[str, float] = field(default_factory=lambda: Remembered(_REMEMBERED))
    """When they did, so that a hello that was overtaken by its launcher's `RunnerExited` raises no ghost."""
    is_settled: bool = False
    """False until what existed before this scheduler has reported; nothing is granted or loaded before."""
    heard_s: float = 0.0
    """When somebody was heard last, to some hundredths."""
    heard_floor_s: float = 0.0
    """No peer counts as silent since before this."""
    n_started: int = 0
    woken: dict[str, None] = field(default_factory=dict)
    """Models whose slots may be given out, or that may need a runner."""
    unserved: dict[str, None] = field(default_factory=dict)
    """Models that wait for a runner, or one more, for which there is no room: the longest waiting first."""
    promises: dict[str, tuple[str, Share]] = field(default_factory=dict)
    """The host and the room on it that such a model will get when victims are gone."""
    opened: dict[str, None] = field(default_factory=dict)
    """Launchers on whose host there may be more room than before."""
    must_replan: bool = False
    """All hosts are to be looked at for all unserved models."""
    notes: deque[str] = field(default_factory=lambda: deque(maxlen=_NOTES_KEPT))
    """The last lines told to the operator."""
    touched: dict[str, None] = field(default_factory=dict)
    """Launchers on whose host a runner began or stopped using cores."""
    vacated: dict[str, Runner] = field(default_factory=dict)
    """Runners that may have become idle."""
    effects: list[Effect] = field(default_factory=list)
    welcome: Welcome = field(init=False)
    """The answer to every heartbeat."""

    def __post_init__(self) -> None:
        """Make what is said again and again once."""
        self.welcome = Welcome(epoch=self.epoch)

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        """Leave the bodies out of a copy: no decision depends on them."""
        return None, {name: {} if name == "bodies" else getattr(self, name) for name in self.__slots__}

    def send(self, peer: str, message: msgspec.Struct, payload: tuple[bytes, ...] = ()) -> None:
        """Collect a message."""
        self.effects.append(Send(peer, message, payload))

    def tell_gateways(self, message: msgspec.Struct) -> None:
        """Collect a message to every gateway."""
        for gateway_id in self.gateways:
            self.effects.append(Send(gateway_id, message))

    def note(self, text: str, level: int = logging.INFO) -> None:
        """Collect a line for the operator."""
        self.notes.append(text)
        self.effects.append(Note(level, text))

    def look_in(self, kind: AlarmKind, subject: str, delay_s: float) -> None:
        """Set an alarm relative to now."""
        self.alarms.look_at(kind, subject, self.now_s + delay_s)

    def put_in(self, job: Job, payload: tuple[bytes, ...]) -> None:
        """Put a job and its body into the queue."""
        self.queue.add(job)
        self.bodies[job.job_id] = payload

    def take_out(self, job: Job) -> tuple[bytes, ...]:
        """Take a job out of the queue, and give its body."""
        self.queue.remove(job)
        return self.bodies.pop(job.job_id, ())

    def step_job(self, job: Job, step: JobStep, **changes: Any) -> Job:
        """Put what a job is after a step, and these changes, into its place in the table."""
        after = replace(job, life=next_job_life(job.life, step), **changes)
        self.jobs[job.job_id] = after
        return after

    def end_job(self, job: Job, step: JobStep) -> None:
        """Take the last step of a job and drop it from the table; the caller sends what the gateway is to know."""
        next_job_life(job.life, step)
        del self.jobs[job.job_id]
        self.ended_jobs.note(job.job_id, job.attempt)

    def refuse(self, job: Job, failure: Failure) -> None:
        """End a waiting job with a failure that its gateway is told."""
        self.take_out(job)
        self.end_job(job, JobStep.REFUSE)
        refused = Refused(epoch=self.epoch, job_id=job.job_id, attempt=job.attempt, failure=failure)
        self.send(job.gateway_id, refused)

    def wake(self, model_key: str) -> None:
        """Mark that a model's queue is to be looked at."""
        self.woken[model_key] = None

    def wake_all(self) -> None:
        """Mark that every queue is to be looked at, and every host for it."""
        self.must_replan = True
        for key in self.queue.waited_for():
            self.woken[key] = None

    def open_room(self, runner: Runner) -> None:
        """Mark that there may be more room on a runner's host."""
        launcher = self.launcher_of(runner)
        if launcher is not None:
            launcher.room = None
            self.opened[launcher.launcher_id] = None

    def add_runner(self, runner: Runner) -> None:
        """Enter a runner into the tables."""
        self.runners[runner.runner_id] = runner
        runner.is_pinned = runner.model.key in self.pinned
        fleet = self.fleets.setdefault(runner.model.key, Fleet())
        fleet.add(runner)
        fleet.n_loading += runner.is_loading
        launcher = self.launcher_of(runner)
        if launcher is not None:
            launcher.runner_ids[runner.runner_id] = None
            launcher.room, launcher.is_current = None, False
            launcher.free_bytes -= runner.share.total_bytes
            self.touched[launcher.launcher_id] = None

    def step_runner(self, runner: Runner, step: RunnerStep) -> None:
        """Let a runner take a step of its life; counts and indices follow."""
        fleet = self.fleets[runner.model.key]
        was_loading, was_leaving, was_ready = runner.is_loading, runner.is_leaving, runner.life is RunnerLife.READY
        runner.step(step)
        is_ready = runner.life is RunnerLife.READY
        fleet.n_loading += runner.is_loading - was_loading
        fleet.n_leaving += runner.is_leaving - was_leaving
        fleet.n_ready += is_ready - was_ready
        fleet.n_slots += (is_ready - was_ready) * runner.plan.n_slots
        self.n_leaving += runner.is_leaving - was_leaving
        self.note_load(runner)

    def note_load(self, runner: Runner) -> None:
        """Let the indices follow what a runner holds."""
        if runner.is_idle:
            self.idle.setdefault(runner.runner_id, runner)
        else:
            self.idle.pop(runner.runner_id, None)
        self.fleets[runner.model.key].note(runner)

    def remove_runner(self, runner: Runner) -> None:
        """Take a runner that is gone out of the tables."""
        del self.runners[runner.runner_id]
        fleet = self.fleets[runner.model.key]
        fleet.remove(runner)
        if not fleet.runners:
            del self.fleets[runner.model.key]
        self.alarms.forget(runner.runner_id)
        self.vacated.pop(runner.runner_id, None)
        self.open_room(runner)
        launcher = self.launcher_of(runner)
        if launcher is not None:
            launcher.runner_ids.pop(runner.runner_id, None)
            launcher.is_current = False
            given_back = _given_back(runner) if runner.is_reported else runner.share
            launcher.free_bytes += given_back.total_bytes
            if runner.is_reported:
                launcher.credit += given_back
            self.touched[launcher.launcher_id] = None
        self.wake(runner.model.key)
        self.must_replan |= self.settings.max_loaded_models is not None

    def record(self, model: ModelSpec) -> Record:
        """Give the record of a model, begun if need be."""
        record = self.records.get(model.key)
        if record is None:
            record = self.records[model.key] = Record(model)
            if len(self.records) > _REMEMBERED:
                self.records.popitem(last=False)
        else:
            self.records.move_to_end(model.key)
        return record

    def known(self, model: ModelSpec) -> ModelSpec:
        """Give the one copy of a model's description that all jobs share: it came with each of them anew."""
        record = self.record(model)
        if record.model != model:
            record.model = model
        return record.model

    def fleet(self, model_key: str) -> Fleet:
        """Look at the runners of a model; an empty fleet is not to be changed."""
        return self.fleets.get(model_key, _NO_FLEET)

    def eviction_cost_s(self, runner: Runner) -> float:
        """Say what it costs to evict a runner."""
        return self.eviction(runner, self.record(runner.model), self.fleets[runner.model.key].n_ready, self.now_s)

    def remember_exit(self, runner_id: str) -> None:
        """Remember an exited runner's id."""
        self.exited_runners.note(runner_id, self.now_s)

    def launcher_of(self, runner: Runner) -> Launcher | None:
        """Give the launcher of a runner, if it is connected."""
        return self.launchers.get(runner.launcher_id) if runner.launcher_id is not None else None

    def has_devices(self, runner: Runner) -> bool:
        """Tell whether options about devices mean anything for a runner."""
        launcher = self.launcher_of(runner)
        return bool(launcher.host.devices) if launcher is not None else runner.plan.n_gpu_layers > 0

    def serving(self, model_key: str) -> list[Runner]:
        """List the runners of a model, in whatever state."""
        return list(self.fleet(model_key).runners.values())


def _given_back(runner: Runner) -> Share:
    """Give what a host reports as free after a runner's exit and not before: mapped weights were free all along."""
    mapped = 0 if runner.plan.use_mmap is False else min(runner.model.weights_bytes, runner.share.host_bytes)
    return Share(runner.share.host_bytes - mapped, runner.share.device_bytes)
