"""The core among peers that come, go, die and interleave at random.

Every message that a peer can say takes part, from several tenants, with priorities, pins, drains by hand, devices and
replicas; peers die, fall silent and are not reached. After every event the core's own invariants are checked (bounded
queue, a deadline for every wait, granted jobs held by living runners …) and the memory budget of hosts and devices;
every attempt gets at most one verdict; nobody is evicted in flight before another model waited its turn out, nor while
pinned; nothing goes to who leaves; nobody waits beside a slot that would do. At the end of every run, waiting jobs must
resolve although no peer makes any progress, and all others once runners finish.

Steps are of two kinds, drawn equally often so that there is work for trouble to interfere with. Each takes a number,
`pick`, that chooses what it concerns among what there is.
"""

import os
import re
from collections.abc import Iterable
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from actors.errors import InvalidRequest, LoadFailed, LoadOutOfMemory
from actors.messages.gateway_to_scheduler import JobKind, Submit
from actors.messages.model import LoadOptions, ModelSpec
from actors.messages.runner_to_scheduler import Outcome, RunnerState
from actors.scheduler import deadlines
from actors.scheduler.granting import can_serve
from actors.scheduler.states import JobLife
from tests.actors.scheduler.stage import GIB, model
from tests.actors.scheduler.stage import settings as settings_with
from tests.actors.scheduler.troupe import Troupe

T = TypeVar("T")
SMALL, LARGE, HUGE = model("small"), model("large", weights_bytes=2 * GIB), model("huge", weights_bytes=9 * GIB)
PINNED = (SMALL, LARGE)
REQUESTS: list[tuple[ModelSpec, JobKind, LoadOptions, float | None]] = [
    (SMALL, JobKind.GENERATE, LoadOptions(), None),
    (SMALL, JobKind.GENERATE, LoadOptions(), None),
    (SMALL, JobKind.GENERATE, LoadOptions(num_ctx=512), None),
    (SMALL, JobKind.GENERATE, LoadOptions(num_ctx=8192), None),
    (SMALL, JobKind.GENERATE, LoadOptions(), 0.0),
    (SMALL, JobKind.LOAD, LoadOptions(), 1e10),
    (SMALL, JobKind.INSPECT, LoadOptions(), None),
    (LARGE, JobKind.INSPECT, LoadOptions(num_ctx=8192), 0.0),
    (LARGE, JobKind.GENERATE, LoadOptions(), None),
    (LARGE, JobKind.GENERATE, LoadOptions(num_gpu=0), 5.0),
    (LARGE, JobKind.GENERATE, LoadOptions(main_gpu=1, num_thread=2), None),
    (LARGE, JobKind.LOAD, LoadOptions(), None),
    (model("large too", weights_bytes=2 * GIB, expert_bytes=GIB), JobKind.GENERATE, LoadOptions(), None),
    (model("fourth"), JobKind.LOAD, LoadOptions(), 5.0),
    (model("embeds", is_embedding=True), JobKind.GENERATE, LoadOptions(), None),
    (HUGE, JobKind.GENERATE, LoadOptions(), None),
]
WORK = ["submit"] * 4 + ["submit_many"] + ["flow"] * 4 + ["move", "end_jobs", "end_job", "pass_seconds"]
TROUBLE = [
    *[
        "move",
        "lose",
        "cancel",
        "repeat",
        "offer_again",
        "unload",
        "fail_load",
        "fail_job",
        "end_runner",
        "mute_runner",
    ],
    *["pin", "drain", "look", "mute_gateway", "mute_launcher", "host_goes_down"],
    *["replace_gateway", "replace_launcher", "restart", "pass_long"],
]
FAILURES = [
    LoadFailed("bad file").as_failure(),
    LoadOutOfMemory("no memory").as_failure(),
    InvalidRequest("num_batch is too small").as_failure(),
]
PICKS = st.integers(0, 23)
QUEUE_TIMEOUT_S = 40.0
_ATTEMPTS = 3  # a lost job is offered again, and waits its whole deadline again
_EXAMPLES = int(os.environ.get("LLAMACTOR_TEST_EXAMPLES", "120"))
"""So many find what is badly wrong within seconds; a night's run takes thousands."""
_EVICTION = re.compile(r"^unloading (.*) \(room for .*, ([0-9]+) jobs in flight")


class SchedulerMachine(RuleBasedStateMachine):
    """Random lives of a small cluster."""

    def __init__(self) -> None:
        super().__init__()
        self.n_ids = self.n_devices = 0
        self.troupe = Troupe(settings_with())

    @initialize(n_devices=st.sampled_from([0, 0, 2, 3]), is_spread=st.booleans())
    def begin(self, n_devices: int, is_spread: bool) -> None:  # noqa: FBT001 - drawn by name
        """Start with one gateway, one host, with or without devices, and one loaded model."""
        self.n_devices = n_devices
        most = 4 if n_devices else 2
        self.troupe = Troupe(
            settings_with(
                max_queue=6,
                num_parallel=2,
                max_loaded_models=most,
                sched_spread=is_spread,
                gpu_overhead_bytes=GIB // 8,
                queue_timeout_s=QUEUE_TIMEOUT_S,
                tenant_weights={"t1": 3.0},
            )
        )
        self.troupe.new_gateway(self.new_id("gw"))
        self.troupe.new_launcher(self.new_id("host"), n_devices=n_devices)
        self.submit(0)
        self.flow(0)

    @rule(what=st.sampled_from(WORK), pick=PICKS)
    def work(self, what: str, pick: int) -> None:
        """Let peers do what they should."""
        getattr(self, what)(pick)

    @rule(what=st.sampled_from(WORK), pick=PICKS)
    def work_more(self, what: str, pick: int) -> None:
        """Twice as often as they should not."""
        getattr(self, what)(pick)

    @rule(what=st.sampled_from(TROUBLE), pick=PICKS)
    def trouble(self, what: str, pick: int) -> None:
        """Let something go wrong, or away."""
        getattr(self, what)(pick)

    @invariant()
    def nobody_is_evicted_in_flight(self) -> None:
        """Unless a model waited its turn out; and then the jobs in flight go on."""
        for note, pinned in self.troupe.notes:
            eviction = _EVICTION.search(note)
            if eviction is not None:
                assert self.troupe.now_s >= deadlines.TURN_S or not int(eviction[2])
                assert eviction[1] not in {each.name for each in PINNED if each.key in pinned}
        self.troupe.notes.clear()

    @invariant()
    def nobody_waits_beside_a_slot_that_would_do(self) -> None:
        """Whose turn it is gets what is free at once, so that nobody starves but for want of slots."""
        world = self.troupe.core.world
        for key in world.queue.waited_for() if world.is_settled else ():
            job = world.queue.line(key).next_generation(world.now_s)
            free = [each for each in world.fleet(key).runners.values() if each.has_free_slot]
            assert job is None or not any(can_serve(world, each, job) for each in free), f"{job} could be served"

    def teardown(self) -> None:
        """Resolve everything: first without any progress of the peers, then with."""
        troupe = self.troupe
        for gateway in troupe.gateways.values():
            gateway.is_mute = False
        for launcher in troupe.launchers.values():
            launcher.is_mute = False
        troupe.pass_time(_ATTEMPTS * QUEUE_TIMEOUT_S + 10)
        assert not [job for job in troupe.core.world.jobs.values() if job.life is JobLife.QUEUED]
        for _ in range(_ATTEMPTS):
            self.end_jobs(0)
            troupe.pass_time(QUEUE_TIMEOUT_S + 10)
        assert not troupe.core.world.jobs
        assert not any(gateway.attempts for gateway in troupe.gateways.values())

    # Lines and time.

    def move(self, pick: int) -> None:
        """Deliver a few messages of one line, in either direction."""
        lines, move = (
            (self.troupe.to_core, self.troupe.move_to_core)
            if pick % 2
            else (self.troupe.from_core, self.troupe.move_from_core)
        )
        if lines:
            peer = self.one_of(lines, pick // 2)
            for _ in range(1 + pick // 8):
                move(peer)

    def lose(self, pick: int) -> None:
        """Lose a message between core and host, in either direction; gateways watch over theirs themselves."""
        self.submit(0)
        for gateway_id in self.troupe.gateways:
            while self.troupe.to_core[gateway_id]:
                self.troupe.move_to_core(gateway_id)
        lines = self.troupe.to_core if pick % 2 else self.troupe.from_core
        peers = [each for each, line in lines.items() if line and each not in self.troupe.gateways]
        if peers:
            lines[self.one_of(peers, pick // 2)].popleft()

    def flow(self, pick: int) -> None:
        """Deliver everything, mostly let all loads succeed, and deliver what comes of it."""
        self.troupe.settle_lines()
        if pick % 4 < 3:
            for runner_id in self.loading():
                self.troupe.finish_load(runner_id)
            self.troupe.settle_lines()

    def pass_seconds(self, pick: int) -> None:
        """Let some time pass."""
        self.troupe.pass_time(0.2 * (1 + pick))

    def pass_long(self, pick: int) -> None:
        """Let much time pass."""
        self.troupe.pass_time(2.0 * (1 + pick))

    # Clients.

    def submit(self, pick: int) -> None:
        """Let a client ask for something."""
        self.submit_one(pick, REQUESTS[pick % len(REQUESTS)])

    def submit_many(self, pick: int) -> None:
        """Let clients ask for more of one model than a runner has slots."""
        for number in range(5):
            self.submit_one(pick + number, REQUESTS[6 * (pick % 2)])

    def submit_one(self, pick: int, request: tuple[ModelSpec, JobKind, LoadOptions, float | None]) -> None:
        """Let one of three tenants ask, some urgently, some with a prompt that was asked before."""
        spec, kind, options, keep_alive_s = request
        self.troupe.submit(
            self.one_of(self.troupe.gateways, pick),
            Submit(
                job_id=self.new_id("job"),
                attempt=1,
                kind=kind,
                model=spec,
                load=options,
                keep_alive_s=keep_alive_s,
                tenant=f"t{pick % 3}",
                priority=(0, 0, 5, -5, 99)[pick % 5],
                prefixes=(pick % 2, 10 + pick % 4),
            ),
        )

    def cancel(self, pick: int) -> None:
        """Let a client leave."""
        if jobs := self.open_jobs():
            self.troupe.cancel(*self.one_of(jobs, pick))

    def repeat(self, pick: int) -> None:
        """Let a gateway send the same offer twice."""
        if jobs := self.open_jobs():
            self.troupe.repeat(*self.one_of(jobs, pick))

    def offer_again(self, pick: int) -> None:
        """Let a gateway give an attempt up and make another."""
        if jobs := self.open_jobs():
            self.troupe.offer_again(*self.one_of(jobs, pick))

    def unload(self, pick: int) -> None:
        """Let a user unload a model."""
        self.troupe.unload(self.one_of(self.troupe.gateways, pick), (SMALL, LARGE)[pick % 2])

    def pin(self, pick: int) -> None:
        """Let a user pin a model, or let it go again."""
        self.troupe.pin(self.one_of(self.troupe.gateways, pick), PINNED[pick % 2], is_pinned=pick % 3 > 0)

    def drain(self, pick: int) -> None:
        """Let a user drain a host or a runner, take that back, or name what is not there."""
        targets = [*self.troupe.launchers, *self.troupe.runners, "nobody"]
        gateway_id = self.one_of(self.troupe.gateways, pick)
        self.troupe.retire(gateway_id, self.one_of(targets, pick), is_draining=pick % 2 > 0)

    def look(self, pick: int) -> None:
        """Let a user look at everything."""
        jobs = self.open_jobs() or [("", "no job")]
        self.troupe.look(self.one_of(self.troupe.gateways, pick), self.one_of(jobs, pick)[1])

    # Runners.

    def end_job(self, pick: int) -> None:
        """Let one job end."""
        jobs = [(each, job_id) for each, runner in self.troupe.runners.items() for job_id in runner.jobs]
        if jobs:
            self.troupe.end_job(*self.one_of(jobs, pick))

    def end_jobs(self, _pick: int) -> None:
        """Let all jobs end."""
        for runner_id, runner in list(self.troupe.runners.items()):
            for job_id in list(runner.jobs):
                self.troupe.end_job(runner_id, job_id)

    def fail_load(self, pick: int) -> None:
        """Let a load fail."""
        if loading := self.loading():
            self.troupe.fail_load(self.one_of(loading, pick), FAILURES[pick % len(FAILURES)])

    def fail_job(self, pick: int) -> None:
        """Let one job fail at its runner."""
        jobs = [(each, job_id) for each, runner in self.troupe.runners.items() for job_id in runner.jobs]
        if jobs:
            self.troupe.end_job(*self.one_of(jobs, pick), Outcome.FAILED)

    def end_runner(self, pick: int) -> None:
        """Let a runner die."""
        if self.troupe.runners:
            self.troupe.end_runner(self.one_of(self.troupe.runners, pick), -9)

    def mute_runner(self, pick: int) -> None:
        """Let a runner fall silent."""
        if self.troupe.runners:
            self.troupe.runners[self.one_of(self.troupe.runners, pick)].is_mute = True

    # Processes.

    def replace_gateway(self, pick: int) -> None:
        """Let a gateway die and another one come, or one more come."""
        if pick % 2:
            self.troupe.end_gateway(self.one_of(self.troupe.gateways, pick))
        self.troupe.new_gateway(self.new_id("gw"))

    def replace_launcher(self, pick: int) -> None:
        """Let a launcher die and another one come, in its place or elsewhere, or one more come."""
        place = ""
        if pick % 4:
            dead = self.one_of(self.troupe.launchers, pick)
            place = self.troupe.launchers[dead].place if pick % 4 > 1 else ""
            self.troupe.end_launcher(dead)
        self.troupe.new_launcher(self.new_id("host"), n_devices=self.n_devices, place=place)

    def host_goes_down(self, pick: int) -> None:
        """Let a host announce its end; another one comes sooner or later."""
        self.troupe.go_down(self.one_of(self.troupe.launchers, pick))
        if pick % 2:
            self.troupe.new_launcher(self.new_id("host"), n_devices=self.n_devices)

    def mute_gateway(self, pick: int) -> None:
        """Let a gateway fall silent, or speak again."""
        gateway = self.troupe.gateways[self.one_of(self.troupe.gateways, pick)]
        gateway.is_mute = not gateway.is_mute

    def mute_launcher(self, pick: int) -> None:
        """Let a launcher fall silent, or speak again."""
        launcher = self.troupe.launchers[self.one_of(self.troupe.launchers, pick)]
        launcher.is_mute = not launcher.is_mute

    def restart(self, _pick: int) -> None:
        """Let a new scheduler learn everything from its peers."""
        self.troupe.restart()

    # What there is.

    def new_id(self, kind: str) -> str:
        """Make an id that was never used."""
        self.n_ids += 1
        return f"{kind}-{self.n_ids}"

    def open_jobs(self) -> list[tuple[str, str]]:
        """List the jobs that gateways wait for."""
        return [(gw, job_id) for gw, gateway in self.troupe.gateways.items() for job_id in gateway.attempts]

    def loading(self) -> list[str]:
        """List the runners that load."""
        return [each for each, runner in self.troupe.runners.items() if runner.state is RunnerState.LOADING]

    @staticmethod
    def one_of(candidates: Iterable[T], pick: int) -> T:
        """Choose one of what there is."""
        ordered = list(candidates)
        return ordered[pick % len(ordered)]


def test_scheduler_among_random_peers_keeps_its_promises() -> None:
    """Any interleaving of everything that can happen."""
    run_state_machine_as_test(
        SchedulerMachine,
        settings=settings(
            max_examples=_EXAMPLES, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
