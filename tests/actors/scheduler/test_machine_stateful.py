"""The core among peers that come, go, die and interleave at random.

After every event the core's own invariants are checked (bounded queue, a deadline for every wait, granted jobs held
by living runners …) and the memory budget; every attempt gets at most one verdict; nobody is evicted in flight before
another model waited its turn out. At the end of every run, waiting jobs must resolve although no peer makes any
progress, and all others once runners finish.

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

from actors.messages.gateway_to_scheduler import JobKind
from actors.messages.model import LoadOptions, ModelSpec
from actors.messages.runner_to_scheduler import RunnerState
from actors.scheduler import deadlines
from actors.scheduler.states import JobLife
from tests.actors.scheduler.stage import GIB, model
from tests.actors.scheduler.stage import settings as settings_with
from tests.actors.scheduler.troupe import Troupe

T = TypeVar("T")
SMALL, LARGE, HUGE = model("small"), model("large", weights_bytes=2 * GIB), model("huge", weights_bytes=9 * GIB)
REQUESTS: list[tuple[ModelSpec, JobKind, int | None, float | None]] = [
    (SMALL, JobKind.GENERATE, None, None),
    (SMALL, JobKind.GENERATE, 512, None),
    (SMALL, JobKind.GENERATE, 8192, None),
    (SMALL, JobKind.GENERATE, None, 0.0),
    (SMALL, JobKind.LOAD, None, 1e10),
    (SMALL, JobKind.INSPECT, None, None),
    (LARGE, JobKind.INSPECT, 8192, 0.0),
    (LARGE, JobKind.GENERATE, None, None),
    (LARGE, JobKind.GENERATE, None, 5.0),
    (LARGE, JobKind.LOAD, None, None),
    (model("large too", weights_bytes=2 * GIB), JobKind.GENERATE, None, None),
    (model("fourth"), JobKind.LOAD, None, 5.0),
    (HUGE, JobKind.GENERATE, None, None),
]
WORK = ["submit"] * 4 + ["flow"] * 4 + ["move", "end_jobs", "end_job", "pass_seconds"]
TROUBLE = [
    *["move", "lose", "cancel", "repeat", "offer_again", "unload", "fail_load", "end_runner", "mute_runner"],
    *["replace_gateway", "replace_launcher", "restart", "pass_long"],
]
PICKS = st.integers(0, 23)
QUEUE_TIMEOUT_S = 40.0
_ATTEMPTS = 3  # a lost job is offered again, and waits its whole deadline again
_EXAMPLES = int(os.environ.get("LLAMACTOR_TEST_EXAMPLES", "40"))
"""Forty find what is badly wrong within seconds; a night's run takes thousands."""
_EVICTION = re.compile(r"\(room for .*, ([0-9]+) jobs in flight")


class SchedulerMachine(RuleBasedStateMachine):
    """Random lives of a small cluster."""

    def __init__(self) -> None:
        super().__init__()
        self.n_ids = 0
        self.troupe = Troupe(
            settings_with(max_queue=4, num_parallel=2, max_loaded_models=2, queue_timeout_s=QUEUE_TIMEOUT_S)
        )

    @initialize()
    def begin(self) -> None:
        """Start with one gateway, one host and one loaded model."""
        self.troupe.new_gateway(self.new_id("gw"))
        self.troupe.new_launcher(self.new_id("host"))
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
        for note in self.troupe.notes:
            eviction = _EVICTION.search(note)
            if eviction is not None and int(eviction[1]):
                assert self.troupe.now_s >= deadlines.TURN_S
        self.troupe.notes.clear()

    def teardown(self) -> None:
        """Resolve everything: first without any progress of the peers, then with."""
        troupe = self.troupe
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
        spec, kind, num_ctx, keep_alive_s = REQUESTS[pick % len(REQUESTS)]
        self.troupe.submit(
            self.one_of(self.troupe.gateways, pick),
            self.new_id("job"),
            spec,
            kind=kind,
            load=LoadOptions(num_ctx=num_ctx),
            keep_alive_s=keep_alive_s,
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
            self.troupe.fail_load(self.one_of(loading, pick))

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
        """Let a launcher die and another one come, or one more come."""
        if pick % 4:
            self.troupe.end_launcher(self.one_of(self.troupe.launchers, pick))
        self.troupe.new_launcher(self.new_id("host"))

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
