"""A troupe of fake peers for the scheduler's core: gateways, launchers and runners that behave as the real ones do.

Messages in both directions wait in one line per peer, so that a test decides in which order the peers' lines move;
within a line the order is kept, as in a socket. A dead peer's line to it refuses (`Undelivered`), its line from it is
lost. No randomness and no clock: the test supplies both.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field

import msgspec

from actors.errors import Failure, LoadFailed
from actors.messages.gateway_to_scheduler import (
    AskProgress,
    CancelJob,
    GatewayBeat,
    GatewayHello,
    JobKind,
    ListRunners,
    Pin,
    Retire,
    Submit,
    Survey,
    Unload,
)
from actors.messages.launcher_to_scheduler import LauncherBeat, LauncherDraining, LauncherHello, RunnerExited
from actors.messages.model import Device, HostFacts, JobRef, ModelSpec, RunnerUse
from actors.messages.runner_to_scheduler import (
    JobEnded,
    Outcome,
    RunnerBeat,
    RunnerHello,
    RunnerLoadFailed,
    RunnerReady,
    RunnerState,
)
from actors.messages.scheduler_to_gateway import Granted, Loaded, Lost, Refused, WhoAreYou
from actors.messages.scheduler_to_launcher import KillRunner, StartRunner
from actors.messages.scheduler_to_runner import Cancel, Drain, Start
from actors.scheduler.events import Event, Note, Received, Send, Tick, Undelivered
from actors.scheduler.machine import Scheduler
from actors.scheduler.states import RunnerLife
from actors.settings import Settings
from tests.actors.scheduler.stage import GIB

HOST_BYTES = 4 * GIB
DEVICE_BYTES = 3 * GIB


@dataclass(eq=False)
class FakeRunner:
    """A runner process."""

    order: StartRunner
    launcher_id: str
    state: RunnerState = RunnerState.LOADING
    jobs: dict[str, JobRef] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    is_mute: bool = False


@dataclass(eq=False)
class FakeGateway:
    """A gateway worker and what it still waits for."""

    attempts: dict[str, int] = field(default_factory=dict)
    """The last attempt of each job that has not ended."""
    submits: dict[str, Submit] = field(default_factory=dict)
    verdicts: dict[tuple[str, int], msgspec.Struct] = field(default_factory=dict)
    """The final answer to each attempt."""
    is_mute: bool = False


@dataclass(eq=False)
class FakeLauncher:
    """A host's launcher."""

    n_devices: int = 0
    place: str = ""
    is_mute: bool = False


class Troupe:
    """All the peers, and the core between them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.now_s = 0.0
        self.n_schedulers = 0
        self.gateways: dict[str, FakeGateway] = {}
        self.launchers: dict[str, FakeLauncher] = {}
        self.runners: dict[str, FakeRunner] = {}
        self.to_core: defaultdict[str, deque[tuple[msgspec.Struct, tuple[bytes, ...]]]] = defaultdict(deque)
        self.from_core: defaultdict[str, deque[tuple[msgspec.Struct, tuple[bytes, ...]]]] = defaultdict(deque)
        self.notes: list[tuple[str, frozenset[str]]] = []
        """Lines for the operator, each with the models that were pinned then."""
        self.restart()

    # The core.

    def restart(self) -> None:
        """Replace the scheduler by a new one; what was under way to the old one is lost."""
        self.n_schedulers += 1
        self.to_core.clear()
        self.core = Scheduler(epoch=f"epoch{self.n_schedulers}", settings=self.settings, now_s=self.now_s)

    def happen(self, event: Event) -> None:
        """Let one event happen, with what follows from undelivered messages, and check the core."""
        events = deque([event])
        while events:
            for effect in self.core.handle(events.popleft(), self.now_s):
                if isinstance(effect, Note):
                    self.notes.append((effect.text, frozenset(self.core.world.pinned)))
                    continue
                self.check_effect(effect)
                if self.is_alive(effect.peer):
                    self.from_core[effect.peer].append((effect.message, effect.payload))
                else:
                    events.append(Undelivered(effect))
            self.core.check_invariants()
            self.check_memory()

    def check_effect(self, effect: Send) -> None:
        """Nothing is given to who leaves."""
        world = self.core.world
        if isinstance(effect.message, Start):
            assert world.runners[effect.peer].life in (RunnerLife.READY, RunnerLife.DRAINING, RunnerLife.DYING)
        if isinstance(effect.message, StartRunner):
            assert not world.launchers[effect.peer].is_draining

    def check_memory(self) -> None:
        """No host is given more than it has, nor is any device."""
        for launcher_id, launcher in self.launchers.items():
            runners = [each for each in self.core.world.runners.values() if each.launcher_id == launcher_id]
            started_here = [each for each in runners if each.runner_id.startswith(self.core.world.epoch)]
            if len(started_here) == len(runners):
                assert sum(each.share.host_bytes for each in runners) <= HOST_BYTES
                for index in range(launcher.n_devices):
                    assert sum(each.share.device_bytes.get(index, 0) for each in runners) <= DEVICE_BYTES

    def is_alive(self, peer: str) -> bool:
        """Tell whether messages reach a peer."""
        return peer in self.gateways or peer in self.launchers or peer in self.runners

    def say(self, peer: str, message: msgspec.Struct, *payload: bytes) -> None:
        """Put a message into a peer's line to the core."""
        self.to_core[peer].append((message, payload))

    def move_to_core(self, peer: str) -> None:
        """Deliver the next message of a peer."""
        if self.to_core[peer]:
            message, payload = self.to_core[peer].popleft()
            self.happen(Received(peer, message, payload))

    def move_from_core(self, peer: str) -> None:
        """Deliver the next message to a peer."""
        if self.from_core[peer] and self.is_alive(peer):
            message, _payload = self.from_core[peer].popleft()
            if peer in self.gateways:
                self._gateway_hears(peer, message)
            elif peer in self.launchers:
                self._launcher_hears(peer, message)
            else:
                self._runner_hears(peer, message)

    def settle_lines(self) -> None:
        """Deliver everything, until nothing is under way."""
        while peers := [each for each in {*self.to_core, *self.from_core} if self._has_line(each)]:
            for peer in sorted(peers):
                self.move_to_core(peer)
                self.move_from_core(peer)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; everyone who lives beats every second and no line stands still for longer."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s = min(until_s, self.now_s + 1.0, max(self.now_s + 0.01, self.core.next_deadline()))
            for peer in (*self.gateways, *self.launchers, *self.runners):
                self._beat(peer)
            self.settle_lines()
            if self.core.next_deadline() <= self.now_s:
                self.happen(Tick())

    def _has_line(self, peer: str) -> bool:
        return bool(self.to_core[peer] or (self.from_core[peer] and self.is_alive(peer)))

    def _beat(self, peer: str) -> None:
        if peer in self.gateways:
            if not self.gateways[peer].is_mute:
                self.say(peer, GatewayBeat())
        elif peer in self.launchers:
            if not self.launchers[peer].is_mute:
                self.say(peer, LauncherBeat(host=self.facts(peer)))
        elif not self.runners[peer].is_mute:
            runner = self.runners[peer]
            self.say(peer, RunnerBeat(state=runner.state, use=RunnerUse(n_active=len(runner.jobs))))

    # Gateways.

    def new_gateway(self, gateway_id: str) -> None:
        """Let a gateway start."""
        self.gateways[gateway_id] = FakeGateway()
        self.say(gateway_id, GatewayHello())

    def end_gateway(self, gateway_id: str) -> None:
        """Let a gateway die."""
        del self.gateways[gateway_id]
        self._forget_lines(gateway_id)

    def submit(self, gateway_id: str, message: Submit) -> None:
        """Let a client ask for something."""
        gateway = self.gateways[gateway_id]
        gateway.attempts[message.job_id], gateway.submits[message.job_id] = 1, message
        self._offer(gateway_id, message.job_id)

    def offer_again(self, gateway_id: str, job_id: str) -> None:
        """Let a gateway offer a job once more, with a higher attempt."""
        self.gateways[gateway_id].attempts[job_id] += 1
        self._offer(gateway_id, job_id)

    def repeat(self, gateway_id: str, job_id: str) -> None:
        """Let a gateway send the same offer twice."""
        self._offer(gateway_id, job_id)

    def cancel(self, gateway_id: str, job_id: str) -> None:
        """Let a client leave."""
        self.gateways[gateway_id].attempts.pop(job_id)
        self.say(gateway_id, CancelJob(job_id=job_id))

    def unload(self, gateway_id: str, spec: ModelSpec) -> None:
        """Let a user unload a model."""
        self.say(gateway_id, Unload(request_id="unload", model_key=spec.key))

    def pin(self, gateway_id: str, spec: ModelSpec, *, is_pinned: bool) -> None:
        """Let a user pin a model, or let it go."""
        self.say(gateway_id, Pin(request_id="pin", model_key=spec.key, is_pinned=is_pinned))

    def retire(self, gateway_id: str, target: str, *, is_draining: bool) -> None:
        """Let a user drain a host or a runner, or let a host take runners again."""
        self.say(gateway_id, Retire(request_id="retire", target=target, is_draining=is_draining))

    def look(self, gateway_id: str, job_id: str) -> None:
        """Let a user look at everything."""
        self.say(gateway_id, Survey(request_id="all"))
        self.say(gateway_id, ListRunners(request_id="ps"))
        self.say(gateway_id, AskProgress(request_id="job", job_id=job_id))

    def _offer(self, gateway_id: str, job_id: str) -> None:
        gateway = self.gateways[gateway_id]
        message = msgspec.structs.replace(gateway.submits[job_id], attempt=gateway.attempts[job_id])
        self.say(gateway_id, message, *([] if message.kind is JobKind.LOAD else [b"body"]))

    def _gateway_hears(self, gateway_id: str, message: msgspec.Struct) -> None:
        gateway = self.gateways[gateway_id]
        if isinstance(message, WhoAreYou):
            if gateway.is_mute:
                return
            self.say(gateway_id, GatewayHello())
            for job_id in gateway.attempts:
                self.offer_again(gateway_id, job_id)
        if isinstance(message, Granted):
            assert (message.job_id, message.attempt) not in gateway.verdicts, "granted after its verdict"
        if isinstance(message, Refused | Loaded | Lost):
            self._verdict(gateway_id, gateway, message)

    def _verdict(self, gateway_id: str, gateway: FakeGateway, message: Refused | Loaded | Lost) -> None:
        key = (message.job_id, message.attempt)
        assert key not in gateway.verdicts, f"two verdicts: {gateway.verdicts[key]} and {message}"
        gateway.verdicts[key] = message
        if gateway.attempts.get(message.job_id) != message.attempt:
            return
        if isinstance(message, Lost) and message.attempt < 3 and not gateway.is_mute:
            lost = gateway.submits[message.job_id]
            gateway.submits[message.job_id] = msgspec.structs.replace(lost, n_losses=lost.n_losses + 1)
            self.offer_again(gateway_id, message.job_id)
        else:
            del gateway.attempts[message.job_id]

    # Launchers.

    def new_launcher(self, launcher_id: str, *, n_devices: int = 0, place: str = "") -> None:
        """Let a host come."""
        self.launchers[launcher_id] = FakeLauncher(n_devices, place or launcher_id)
        self._greet(launcher_id)

    def go_down(self, launcher_id: str) -> None:
        """Let a host announce its end."""
        self.say(launcher_id, LauncherDraining())

    def end_launcher(self, launcher_id: str) -> None:
        """Let a launcher die, with its runners."""
        del self.launchers[launcher_id]
        self._forget_lines(launcher_id)
        for runner_id in [each for each, runner in self.runners.items() if runner.launcher_id == launcher_id]:
            del self.runners[runner_id]
            self._forget_lines(runner_id)

    def facts(self, launcher_id: str) -> HostFacts:
        """Describe a host as it is now."""
        devices, taken = [0] * self.launchers[launcher_id].n_devices, 0
        for runner in self.runners.values():
            if runner.launcher_id == launcher_id and runner.state is not RunnerState.LOADING:
                plan = runner.order.plan
                on_devices = plan.size_bytes if plan.n_gpu_layers else 0
                for index in range(len(devices)):
                    split = plan.tensor_split or tuple(float(each == plan.main_gpu) for each in range(len(devices)))
                    devices[index] += int(on_devices * split[index]) if index < len(split) else 0
                taken += plan.size_bytes - on_devices - (0 if on_devices else runner.order.model.weights_bytes)
        return HostFacts(
            n_cores=4,
            memory_total_bytes=HOST_BYTES,
            memory_available_bytes=max(0, HOST_BYTES - max(0, taken)),
            devices=tuple(
                Device(index=n, name="d", total_bytes=DEVICE_BYTES, free_bytes=max(0, DEVICE_BYTES - used))
                for n, used in enumerate(devices)
            ),
        )

    def _launcher_hears(self, launcher_id: str, message: msgspec.Struct) -> None:
        if isinstance(message, WhoAreYou):
            if not self.launchers[launcher_id].is_mute:
                self._greet(launcher_id)
        elif isinstance(message, StartRunner):
            self.runners[message.runner_id] = FakeRunner(message, launcher_id)
            self.say(message.runner_id, self._hello(message.runner_id))
        elif isinstance(message, KillRunner):
            if message.runner_id in self.runners:
                self.end_runner(message.runner_id, -9)
            else:
                self.say(launcher_id, RunnerExited(runner_id=message.runner_id, exit_code=-1))

    def _greet(self, launcher_id: str) -> None:
        mine = tuple(each for each, runner in self.runners.items() if runner.launcher_id == launcher_id)
        place = self.launchers[launcher_id].place
        self.say(launcher_id, LauncherHello(host=self.facts(launcher_id), runner_ids=mine, place=place))

    # Runners.

    def end_runner(self, runner_id: str, exit_code: int) -> None:
        """Let a runner's process end."""
        runner = self.runners.pop(runner_id)
        self.from_core.pop(runner_id, None)
        self.say(runner.launcher_id, RunnerExited(runner_id=runner_id, exit_code=exit_code))

    def finish_load(self, runner_id: str) -> None:
        """Let a load succeed."""
        self.runners[runner_id].state = RunnerState.READY
        self.say(runner_id, RunnerReady(load_s=0.1, size_bytes=0, size_vram_bytes=0))

    def fail_load(self, runner_id: str, failure: Failure | None = None) -> None:
        """Let a load fail."""
        self.say(runner_id, RunnerLoadFailed(failure=failure or LoadFailed("bad file").as_failure()))
        self.end_runner(runner_id, 1)

    def end_job(self, runner_id: str, job_id: str, outcome: Outcome = Outcome.FINISHED) -> None:
        """Let a job end at its runner."""
        runner = self.runners[runner_id]
        ref = runner.jobs.pop(job_id)
        runner.ended[job_id] = ref.attempt
        self.say(runner_id, JobEnded(job_id=job_id, attempt=ref.attempt, outcome=outcome))
        gateway = self.gateways.get(ref.gateway_id)
        if gateway is not None and outcome is not Outcome.CANCELLED:
            gateway.attempts.pop(job_id, None)
        if runner.state is RunnerState.DRAINING and not runner.jobs:
            self.end_runner(runner_id, 0)

    def _hello(self, runner_id: str) -> RunnerHello:
        runner = self.runners[runner_id]
        return RunnerHello(
            state=runner.state,
            model=runner.order.model,
            plan=runner.order.plan,
            endpoint=f"ipc:///{runner_id}",
            jobs=tuple(runner.jobs.values()),
        )

    def _runner_hears(self, runner_id: str, message: msgspec.Struct) -> None:
        runner = self.runners[runner_id]
        if isinstance(message, WhoAreYou) and not runner.is_mute:
            self.say(runner_id, self._hello(runner_id))
        elif isinstance(message, Cancel) and message.job_id in runner.jobs:
            self.end_job(runner_id, message.job_id, Outcome.CANCELLED)
        elif isinstance(message, Drain):
            runner.state = RunnerState.DRAINING
            if not runner.jobs:
                self.end_runner(runner_id, 0)
        elif isinstance(message, Start):
            self._runner_starts(runner_id, runner, message)

    def _runner_starts(self, runner_id: str, runner: FakeRunner, message: Start) -> None:
        assert sum(self._needs_slot(job_id) for job_id in runner.jobs) <= runner.order.plan.n_slots
        held = runner.jobs.get(message.job_id)
        if max(held.attempt if held else 0, runner.ended.get(message.job_id, 0)) >= message.attempt:
            return
        if held is not None:
            self.end_job(runner_id, message.job_id, Outcome.CANCELLED)
        if runner_id not in self.runners:
            return
        runner.jobs[message.job_id] = JobRef(message.job_id, message.attempt, message.gateway_id)
        if runner.state is not RunnerState.READY:
            self.end_job(runner_id, message.job_id, Outcome.FAILED)

    def _needs_slot(self, job_id: str) -> bool:
        submits = (gateway.submits.get(job_id) for gateway in self.gateways.values())
        return any(submit is not None and submit.kind is JobKind.GENERATE for submit in submits)

    def _forget_lines(self, peer: str) -> None:
        self.to_core.pop(peer, None)
        self.from_core.pop(peer, None)
