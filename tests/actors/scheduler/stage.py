"""A stage for the scheduler's core: the test speaks for every peer and for the clock."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from actors.messages.gateway_to_scheduler import CancelJob, GatewayBeat, GatewayHello, JobKind, Submit, Unload
from actors.messages.launcher_to_scheduler import LauncherBeat, LauncherHello, RunnerExited
from actors.messages.model import Device, HostFacts, LoadOptions, LoadPlan, ModelSpec, RunnerUse
from actors.messages.runner_to_scheduler import (
    JobEnded,
    Outcome,
    RunnerBeat,
    RunnerHello,
    RunnerReady,
    RunnerState,
)
from actors.messages.scheduler_to_launcher import StartRunner
from actors.scheduler.events import Effect, Event, Received, Send, Tick, Undelivered
from actors.scheduler.machine import Scheduler
from actors.scheduler.runner import Runner
from actors.settings import Settings

GIB = 1 << 30
EPOCH = "epoch"
M = TypeVar("M", bound=msgspec.Struct)


def model(name: str = "smollm2:135m", *, weights_bytes: int = 90 << 20, **changes: object) -> ModelSpec:
    """Describe a model, by default one like SmolLM2."""
    spec = ModelSpec(
        key=f"sha256:{name}",
        name=name,
        digest="0" * 64,
        weights_path=f"/models/{name}",
        weights_bytes=weights_bytes,
        n_layers=30,
        n_ctx_train=8192,
        kv_bytes_per_token=23_040,
    )
    return msgspec.structs.replace(spec, **changes)


def host(
    *, n_cores: int = 2, available_bytes: int = 12 * GIB, total_bytes: int = 16 * GIB, devices: tuple[Device, ...] = ()
) -> HostFacts:
    """Describe a host, by default a small one without devices."""
    return HostFacts(
        n_cores=n_cores, memory_total_bytes=total_bytes, memory_available_bytes=available_bytes, devices=devices
    )


def device(index: int = 0, *, free_bytes: int = 24 * GIB, total_bytes: int = 24 * GIB) -> Device:
    """Describe a device."""
    return Device(index=index, name=f"device {index}", total_bytes=total_bytes, free_bytes=free_bytes)


def settings(**changes: object) -> Settings:
    """Give settings, by default those of an empty environment."""
    base = Settings(run_dir=Path("/run/llamactor"), scheduler_endpoint="ipc:///run/llamactor/scheduler.sock")
    return msgspec.structs.replace(base, **changes)


class Stage:
    """The core, the messages it has sent so far, and the time."""

    def __init__(self, **changes: object) -> None:
        self.settings = settings(**changes)
        self.now_s = 100.0
        self.core = Scheduler(epoch=EPOCH, settings=self.settings, now_s=self.now_s)
        self.sends: list[Send] = []
        self.beats: dict[str, msgspec.Struct] = {}
        """What each living peer says every second while time passes."""

    # What happens.

    def happen(self, event: Event) -> list[Effect]:
        """Let one event happen and check that the core is sound after it."""
        effects = self.core.handle(event, self.now_s)
        self.core.check_invariants()
        self.sends += [effect for effect in effects if isinstance(effect, Send)]
        return effects

    def hear(self, sender: str, message: msgspec.Struct, *payload: bytes) -> list[msgspec.Struct]:
        """Let a peer say something; return all that was sent because of it."""
        effects = self.happen(Received(sender, message, payload))
        return [effect.message for effect in effects if isinstance(effect, Send)]

    def undelivered(self, send: Send) -> None:
        """Let a message be refused by the socket."""
        self.happen(Undelivered(send))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with the heartbeats of the living and a tick at every deadline."""
        until_s = self.now_s + seconds
        next_beat_s = self.now_s + 1.0
        while True:
            due_s = min(self.core.next_deadline(), next_beat_s if self.beats else until_s, until_s)
            self.now_s = max(self.now_s, due_s)
            if self.beats and self.now_s >= next_beat_s:
                next_beat_s += 1.0
                for sender, beat in list(self.beats.items()):
                    self.hear(sender, beat)
            if self.core.next_deadline() <= self.now_s:
                self.happen(Tick())
            elif self.now_s >= until_s:
                return

    # What peers do.

    def gateway(self, gateway_id: str = "gw") -> None:
        """Let a gateway come and stay alive."""
        self.beats[gateway_id] = GatewayBeat()
        self.hear(gateway_id, GatewayHello())

    def launcher(
        self, launcher_id: str = "host", facts: HostFacts | None = None, *, runner_ids: tuple[str, ...] = ()
    ) -> None:
        """Let a launcher come and stay alive."""
        facts = facts or host()
        self.beats[launcher_id] = LauncherBeat(host=facts)
        self.hear(launcher_id, LauncherHello(host=facts, runner_ids=runner_ids))

    def open(self, facts: HostFacts | None = None) -> None:
        """Let one gateway and one launcher come."""
        self.gateway()
        self.launcher(facts=facts)

    def submit(  # noqa: D417 - the rest are the fields of Submit
        self,
        job_id: str,
        spec: ModelSpec | None = None,
        *,
        kind: JobKind = JobKind.GENERATE,
        attempt: int = 1,
        gateway_id: str = "gw",
        keep_alive_s: float | None = None,
        tenant: str = "",
        prefixes: tuple[int, ...] = (),
        n_losses: int = 0,
        **options: Any,
    ) -> list[msgspec.Struct]:
        """Submit a job.

        Args:
            job_id: also its body.
            spec: the model.
        """
        message = Submit(
            job_id=job_id,
            attempt=attempt,
            kind=kind,
            model=spec or model(),
            load=LoadOptions(**options),
            keep_alive_s=keep_alive_s,
            tenant=tenant,
            prefixes=prefixes,
            n_losses=n_losses,
        )
        payload = () if kind is JobKind.LOAD else (job_id.encode(),)
        return self.hear(gateway_id, message, *payload)

    def cancel(self, job_id: str, gateway_id: str = "gw") -> list[msgspec.Struct]:
        """Let a client leave."""
        return self.hear(gateway_id, CancelJob(job_id=job_id))

    def come_up(self, runner_id: str) -> None:
        """Let a runner that was asked for say hello and load."""
        self.say_hello(runner_id)
        self.come_up_from_loading(runner_id)

    def come_up_from_loading(self, runner_id: str) -> None:
        """Let a runner that has said hello finish its load."""
        self.hear(runner_id, RunnerReady(load_s=0.2, size_bytes=0, size_vram_bytes=0))
        self.beats[runner_id] = RunnerBeat(state=RunnerState.READY, use=RunnerUse(n_active=99))

    def say_hello(self, runner_id: str, *, state: RunnerState = RunnerState.LOADING, **changes: object) -> None:
        """Let a runner that was asked for say hello."""
        runner = self.core.world.runners[runner_id]
        hello = RunnerHello(state=state, model=runner.model, plan=runner.plan, endpoint=f"ipc:///{runner_id}")
        self.beats[runner_id] = RunnerBeat(state=state, use=RunnerUse(n_active=99))
        self.hear(runner_id, msgspec.structs.replace(hello, **changes))

    def run_model(self, spec: ModelSpec | None = None, *, keep_alive_s: float | None = None, **options: Any) -> str:
        """Have a model loaded and return its runner's id."""
        before = set(self.core.world.runners)
        self.submit(f"load-{len(self.sends)}", spec, kind=JobKind.LOAD, keep_alive_s=keep_alive_s, **options)
        [runner_id] = set(self.core.world.runners) - before
        self.come_up(runner_id)
        return runner_id

    def unload(self, spec: ModelSpec | None = None) -> list[msgspec.Struct]:
        """Have a model unloaded."""
        return self.hear("gw", Unload(request_id="unload", model_key=(spec or model()).key))

    def finish(self, runner_id: str, job_id: str, *, attempt: int = 1) -> list[msgspec.Struct]:
        """Let a job end at its runner."""
        return self.hear(runner_id, JobEnded(job_id=job_id, attempt=attempt, outcome=Outcome.FINISHED))

    def exit(self, runner_id: str, exit_code: int = 0, launcher_id: str = "host") -> list[msgspec.Struct]:
        """Let a runner's process end and its launcher report it."""
        self.beats.pop(runner_id, None)
        return self.hear(launcher_id, RunnerExited(runner_id=runner_id, exit_code=exit_code))

    # What the core did.

    def sent(self, peer: str, kind: type[M]) -> list[M]:
        """Give the messages of one type that were sent to a peer so far."""
        return [send.message for send in self.sends if send.peer == peer and isinstance(send.message, kind)]

    def started(self) -> list[StartRunner]:
        """Give the runners asked for so far, on any host."""
        return [send.message for send in self.sends if isinstance(send.message, StartRunner)]

    def runner(self, runner_id: str) -> Runner:
        """Look at a runner in the core."""
        return self.core.world.runners[runner_id]


def plan(**changes: object) -> LoadPlan:
    """Give a plan, by default that of a small model on CPU."""
    return msgspec.structs.replace(LoadPlan(num_ctx=4096, n_slots=8), **changes)
