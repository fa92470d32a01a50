"""The core as a whole: strangers, time, the event log, misuse."""

import gc
import math
from typing import get_args

import pytest
from msgspec.structs import replace

from actors.errors import Bug
from actors.link import HEARTBEAT_S, MISSED_BEATS
from actors.messages.gateway_to_scheduler import FromGateway, GatewayBeat, GatewayHello
from actors.messages.launcher_to_scheduler import FromLauncher, LauncherBeat
from actors.messages.model import RunnerUse
from actors.messages.runner_to_scheduler import FromRunner, JobEnded, Outcome, RunnerBeat, RunnerState
from actors.messages.scheduler_to_gateway import WhoAreYou
from actors.messages.scheduler_to_launcher import KillRunner
from actors.scheduler import deadlines
from actors.scheduler.events import Received, Tick
from actors.scheduler.machine import LISTENERS, Scheduler
from actors.scheduler.states import JobLife
from tests.actors.scheduler.stage import EPOCH, Stage, host, settings


@pytest.mark.parametrize(
    "message",
    [
        GatewayBeat(),
        LauncherBeat(host=host()),
        RunnerBeat(state=RunnerState.READY, use=RunnerUse()),
        JobEnded(job_id="job", attempt=1, outcome=Outcome.FINISHED),
    ],
)
def test_stranger_is_asked_who_it_is(stage: Stage, message: GatewayBeat | LauncherBeat | RunnerBeat | JobEnded) -> None:
    """Whatever it says."""
    assert stage.hear("stranger", message) == [WhoAreYou(epoch=EPOCH)]


def test_peer_in_another_role_is_asked_who_it_is(stage: Stage) -> None:
    """A gateway does not speak for a launcher."""
    assert stage.hear("gw", LauncherBeat(host=host())) == [WhoAreYou(epoch=EPOCH)]


def test_tick_that_is_late_extends_the_peers_deadlines(stage: Stage) -> None:
    """When we were stopped, the peers' silence is ours."""
    stage.run_model()
    stage.submit("job")
    stage.now_s += 60.0
    stage.happen(Tick())
    assert stage.sent("host", KillRunner) == []
    assert {"gw"} == set(stage.core.world.gateways)
    stage.beats.clear()
    stage.pass_time(deadlines.SILENCE_S + 0.1)
    assert stage.core.world.gateways == {}


def test_clock_that_runs_backwards_is_not_believed(stage: Stage) -> None:
    """Time only grows."""
    before = stage.core.world.now_s
    stage.core.handle(Tick(), before - 50)
    assert stage.core.world.now_s == before


def test_core_without_peers_needs_no_ticks() -> None:
    """After the settle period there is nothing to wait for."""
    core = Scheduler(epoch=EPOCH, settings=settings(), now_s=0.0)
    assert core.next_deadline() == deadlines.SETTLE_S
    core.handle(Tick(), deadlines.SETTLE_S)
    assert core.next_deadline() == math.inf


def test_core_with_idle_peers_ticks_seldom(stage: Stage) -> None:
    """Heartbeats set no alarms: a minute with three peers takes a tick per peer and silence limit."""
    stage.run_model()
    stage.pass_time(5)
    before = len(stage.core.journal)
    stage.pass_time(60)
    recent = list(stage.core.journal)[before:]
    assert sum(isinstance(event, Tick) for _, event in recent) <= 3 * 60 / 2


def test_check_invariants_with_a_broken_one_raises(stage: Stage) -> None:
    """A job that is granted to nobody."""
    stage.submit("job")
    jobs = stage.core.world.jobs
    jobs["job"] = replace(jobs["job"], life=JobLife.GRANTED)
    with pytest.raises(Bug, match="broken invariant"):
        stage.core.check_invariants()


def test_deadlines_agree_with_the_link() -> None:
    """What a peer takes for a dead scheduler, the scheduler takes for a dead peer."""
    assert deadlines.SILENCE_S == HEARTBEAT_S * MISSED_BEATS


def test_memory_of_what_ended_is_bounded(stage: Stage) -> None:
    """Old ids are forgotten."""
    runner_id = stage.run_model()
    for number in range(5000):
        stage.core.handle(Received("gw", GatewayHello()), stage.now_s)
        stage.core.world.remember_exit(str(number))
    for number in range(4200):
        stage.submit(str(number))
        stage.finish(runner_id, str(number))
    assert 4096 <= len(stage.core.world.exited_runners) <= 2 * 4096
    assert 1024 <= len(stage.core.world.ended_jobs) <= 2 * 1024


def test_every_message_has_a_listener() -> None:
    """What the codec lets in, the core takes."""
    assert set(LISTENERS) == {*get_args(FromGateway), *get_args(FromLauncher), *get_args(FromRunner)}


def test_core_makes_no_cycles(stage: Stage) -> None:
    """Its process collects old garbage hardly ever: everything must go by counting references."""
    gc.collect()
    gc.disable()
    try:
        runner_id = stage.run_model()
        for number in range(20):
            stage.submit(f"job-{number}", tenant=str(number % 3), prefixes=(number,))
        stage.cancel("job-19")
        stage.cancel("job-0")
        for number in range(8):
            stage.finish(runner_id, f"job-{number}")
        stage.pass_time(5.0)
        stage.exit(runner_id, 1)
        stage.pass_time(20.0)
        stage.sends.clear()
        assert gc.collect() == 0
    finally:
        gc.enable()
