"""The scheduler's state: tables of peers, runners and jobs, the queue, the alarms, and the effects being collected.

The core (`machine.Scheduler`) owns the only `World`; the modules beside it are functions over it, one per concern.
They mark what has changed (`has_changed`, `touched`, `vacated`) and the core acts on the marks once per event.

Bounds: jobs ≤ waiting (`queue`) + slots of all runners; `ended_jobs` and `exited_runners` forget their oldest beyond
`_REMEMBERED`; everything else is bounded by the number of living peers.
"""

import logging
from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

from actors.errors import Failure
from actors.messages.scheduler_to_gateway import Refused
from actors.scheduler.alarms import AlarmKind, Alarms
from actors.scheduler.events import Effect, Note, Send
from actors.scheduler.job import Job
from actors.scheduler.memory import Share
from actors.scheduler.peers import Gateway, Launcher
from actors.scheduler.queue import WaitQueue
from actors.scheduler.runner import Runner
from actors.scheduler.states import JobStep
from actors.settings import Settings

_REMEMBERED = 4096


@dataclass(slots=True, eq=False)
class World:
    """All that the scheduler knows."""

    epoch: str
    settings: Settings
    now_s: float
    queue: WaitQueue
    gateways: dict[str, Gateway] = field(default_factory=dict)
    launchers: dict[str, Launcher] = field(default_factory=dict)
    runners: dict[str, Runner] = field(default_factory=dict)
    by_key: dict[str, dict[str, Runner]] = field(default_factory=dict)
    """The same runners by the key of their model."""
    jobs: dict[str, Job] = field(default_factory=dict)
    """Admitted and not ended."""
    alarms: Alarms = field(default_factory=Alarms)
    ended_jobs: OrderedDict[str, int] = field(default_factory=OrderedDict)
    """Attempt by job id, so that a late duplicate does not run again."""
    exited_runners: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """So that a hello that was overtaken by its launcher's `RunnerExited` raises no ghost."""
    is_settled: bool = False
    """False until what existed before this scheduler has reported; nothing is granted or loaded before."""
    heard_floor_s: float = 0.0
    """No peer counts as silent since before this."""
    n_started: int = 0
    has_changed: bool = False
    """Something may be granted, loaded or drained now."""
    touched: dict[str, None] = field(default_factory=dict)
    """Launchers on whose host a runner began or stopped using cores."""
    vacated: dict[str, Runner] = field(default_factory=dict)
    """Runners that may have become idle."""
    effects: list[Effect] = field(default_factory=list)

    def send(self, peer: str, message: msgspec.Struct, payload: tuple[bytes, ...] = ()) -> None:
        """Collect a message."""
        self.effects.append(Send(peer, message, payload))

    def tell_gateways(self, message: msgspec.Struct) -> None:
        """Collect a message to every gateway."""
        for gateway_id in self.gateways:
            self.effects.append(Send(gateway_id, message))

    def note(self, text: str, level: int = logging.INFO) -> None:
        """Collect a line for the operator."""
        self.effects.append(Note(level, text))

    def look_in(self, kind: AlarmKind, subject: str, delay_s: float) -> None:
        """Set an alarm relative to now."""
        self.alarms.look_at(kind, subject, self.now_s + delay_s)

    def end_job(self, job: Job, step: JobStep) -> None:
        """Take the last step of a job and drop it from the table; the caller sends what the gateway is to know."""
        job.step(step)
        del self.jobs[job.job_id]
        self.alarms.forget(job.job_id)
        self.ended_jobs[job.job_id] = job.attempt
        if len(self.ended_jobs) > _REMEMBERED:
            self.ended_jobs.popitem(last=False)

    def refuse(self, job: Job, failure: Failure) -> None:
        """End a waiting job with a failure that its gateway is told."""
        self.queue.remove(job)
        self.end_job(job, JobStep.REFUSE)
        refused = Refused(epoch=self.epoch, job_id=job.job_id, attempt=job.attempt, failure=failure)
        self.send(job.gateway_id, refused)

    def add_runner(self, runner: Runner) -> None:
        """Enter a runner into the tables."""
        self.runners[runner.runner_id] = runner
        self.by_key.setdefault(runner.model.key, {})[runner.runner_id] = runner
        launcher = self.launcher_of(runner)
        if launcher is not None:
            launcher.runner_ids[runner.runner_id] = None
            self.touched[launcher.launcher_id] = None

    def remove_runner(self, runner: Runner) -> None:
        """Take a runner that is gone out of the tables."""
        del self.runners[runner.runner_id]
        siblings = self.by_key[runner.model.key]
        del siblings[runner.runner_id]
        if not siblings:
            del self.by_key[runner.model.key]
        self.alarms.forget(runner.runner_id)
        self.vacated.pop(runner.runner_id, None)
        launcher = self.launcher_of(runner)
        if launcher is not None:
            launcher.runner_ids.pop(runner.runner_id, None)
            if runner.is_reported:
                launcher.credit += _given_back(runner)
            self.touched[launcher.launcher_id] = None
        self.has_changed = True

    def remember_exit(self, runner_id: str) -> None:
        """Remember an exited runner's id."""
        self.exited_runners[runner_id] = None
        if len(self.exited_runners) > _REMEMBERED:
            self.exited_runners.popitem(last=False)

    def launcher_of(self, runner: Runner) -> Launcher | None:
        """Give the launcher of a runner, if it is connected."""
        return self.launchers.get(runner.launcher_id) if runner.launcher_id is not None else None

    def has_devices(self, runner: Runner) -> bool:
        """Tell whether options about devices mean anything for a runner."""
        launcher = self.launcher_of(runner)
        return bool(launcher.host.devices) if launcher is not None else runner.plan.n_gpu_layers > 0

    def serving(self, model_key: str) -> list[Runner]:
        """List the runners of a model, in whatever state."""
        return list(self.by_key.get(model_key, {}).values())


def _given_back(runner: Runner) -> Share:
    """Give what a host reports as free after a runner's exit and not before: mapped weights were free all along."""
    mapped = 0 if runner.plan.use_mmap is False else min(runner.model.weights_bytes, runner.share.host_bytes)
    return Share(runner.share.host_bytes - mapped, runner.share.device_bytes)
