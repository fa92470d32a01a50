"""The scheduler's core: `handle(event, now) -> effects`.

Theory of operation. All state is one `World`. An event is passed to the function for its type, in the module of its
concern; these functions change the world, collect effects and mark what has changed. Then, once per event, the core
acts on the marks: it grants, loads and evicts (`granting.schedule`), unloads what is idle too long, and divides cores
anew. Nothing waits without an alarm, and `next_deadline` tells the shell when to tick.

Rules for changing it. No sockets, clocks, randomness or logging here or in the modules called from here: time and
the epoch come in from outside, so a log of events replays to the same decisions. What a peer may do wrong is
ignored or answered, never raised; a broken invariant of our own raises `Bug`, and the process starts anew and learns
its state from its peers.

Costs: a heartbeat O(1); a grant O(log n) for n that wait for its model; see `granting` and `providing`.
Bound: `journal` keeps the last thousands of events, without payloads, and what is needed to replay them.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Self

from actors.messages import gateway_to_scheduler as from_gateway
from actors.messages import launcher_to_scheduler as from_launcher
from actors.messages import runner_to_scheduler as from_runner
from actors.messages.scheduler_to_gateway import Granted, Loaded, Lost, Refused, WhoAreYou
from actors.messages.scheduler_to_launcher import StartRunner
from actors.messages.scheduler_to_runner import SetThreads, Start
from actors.scheduler import admission, deadlines, gateways, launchers, overview, progress, runners
from actors.scheduler.alarms import AlarmKind
from actors.scheduler.events import Effect, Event, Received, Send, Tick
from actors.scheduler.granting import schedule, settle_idle
from actors.scheduler.holdings import take_back
from actors.scheduler.invariants import check
from actors.scheduler.journal import Journal
from actors.scheduler.lifecycle import forget
from actors.scheduler.peers import Gateway, Launcher
from actors.scheduler.providing import core_demands
from actors.scheduler.queue import WaitQueue
from actors.scheduler.rings import ring
from actors.scheduler.runner import Runner
from actors.scheduler.states import JobLife, RunnerLife
from actors.scheduler.threads import thread_budgets
from actors.scheduler.world import World
from actors.settings import Settings

# The message types differ per entry, which no mapping type can say.
_Listener = Callable[[World, str, Any, tuple[bytes, ...]], None]

_Table = Callable[[World], Mapping[str, Gateway | Launcher | Runner]]
_GATEWAYS: _Table = attrgetter("gateways")
_LAUNCHERS: _Table = attrgetter("launchers")
_RUNNERS: _Table = attrgetter("runners")

LISTENERS: Mapping[type, tuple[_Table, _Listener]] = {
    from_gateway.GatewayHello: (_GATEWAYS, gateways.hello),
    from_gateway.GatewayBeat: (_GATEWAYS, gateways.beat),
    from_gateway.Submit: (_GATEWAYS, admission.submit),
    from_gateway.CancelJob: (_GATEWAYS, admission.cancel_job),
    from_gateway.Unload: (_GATEWAYS, gateways.unload),
    from_gateway.Pin: (_GATEWAYS, gateways.pin),
    from_gateway.Retire: (_GATEWAYS, gateways.retire),
    from_gateway.ListRunners: (_GATEWAYS, overview.list_runners),
    from_gateway.Survey: (_GATEWAYS, overview.survey),
    from_gateway.AskProgress: (_GATEWAYS, progress.tell),
    from_launcher.LauncherHello: (_LAUNCHERS, launchers.hello),
    from_launcher.LauncherBeat: (_LAUNCHERS, launchers.beat),
    from_launcher.RunnerExited: (_LAUNCHERS, launchers.exited),
    from_launcher.LauncherDraining: (_LAUNCHERS, launchers.draining),
    from_runner.RunnerHello: (_RUNNERS, runners.hello),
    from_runner.RunnerReady: (_RUNNERS, runners.ready),
    from_runner.RunnerLoadFailed: (_RUNNERS, runners.failed),
    from_runner.RunnerBeat: (_RUNNERS, runners.beat),
    from_runner.JobEnded: (_RUNNERS, runners.job_ended),
}
"""For each message the table that knows whoever may say it, and who listens."""
_HELLOS = (from_gateway.GatewayHello, from_launcher.LauncherHello, from_runner.RunnerHello)
"""Said by whoever is not known yet; anything else is answered with the question who that is."""
_TOGETHER_S = 0.02
"""Peers heard within so much time share one number, which stays in the caches; silence is judged in seconds."""


class Scheduler:
    """The pure core; owns the `World`."""

    def __init__(self, *, epoch: str, settings: Settings, now_s: float) -> None:
        self.world = World(epoch=epoch, settings=settings, now_s=now_s, queue=WaitQueue(settings.max_queue))
        self.world.look_in(AlarmKind.SETTLE, "", deadlines.SETTLE_S)
        self.world.heard_floor_s = now_s
        self.journal = Journal(self.world)

    @classmethod
    def resumed(cls, world: World) -> Self:
        """Make a core that goes on with a world, for a replay."""
        core = cls.__new__(cls)
        core.world, core.journal = world, Journal(world)
        return core

    def handle(self, event: Event, now_s: float) -> list[Effect]:
        """Take one event at a time that never runs backwards, and give what is to be done about it, in order.

        Raises:
            Bug: an invariant of ours is broken; this core must not be used any more.
        """
        world = self.world
        world.now_s = max(world.now_s, now_s)
        self.journal.record(world, world.now_s, event)
        if isinstance(event, Received):
            self._receive(event)
        elif isinstance(event, Tick):
            self._tick()
        else:
            self._undelivered(event.effect)
        self._act()
        effects, world.effects = world.effects, []
        return effects

    def next_deadline(self) -> float:
        """Give the time at which a `Tick` is wanted, if no other event comes before."""
        return self.world.alarms.next_due_s()

    def check_invariants(self) -> None:
        """Check what must hold between events.

        Raises:
            Bug: something does not.
        """
        check(self.world)

    def _receive(self, event: Received) -> None:
        world, sender, kind = self.world, event.sender, type(event.message)
        table, listener = LISTENERS[kind]
        peer = table(world).get(sender)
        if peer is not None:
            if world.now_s - world.heard_s >= _TOGETHER_S:
                world.heard_s = world.now_s
            peer.last_heard_s = world.heard_s
            if not peer.is_reachable:
                self._reached(peer)
        elif kind not in _HELLOS:
            world.send(sender, WhoAreYou(epoch=world.epoch))
            return
        listener(world, sender, event.message, event.payload)

    def _reached(self, peer: Gateway | Launcher | Runner) -> None:
        peer.is_reachable = True
        if isinstance(peer, Runner):
            self.world.note_load(peer)
            self.world.wake(peer.model.key)
        else:
            self.world.wake_all()

    def _tick(self) -> None:
        world = self.world
        if world.now_s - world.alarms.next_due_s() > deadlines.LATE_S:
            world.heard_floor_s = world.now_s
        for kind, subject in world.alarms.due(world.now_s):
            ring(world, kind, subject)

    def _undelivered(self, effect: Send) -> None:
        world, message = self.world, effect.message
        runner, launcher = world.runners.get(effect.peer), world.launchers.get(effect.peer)
        if runner is not None:
            runner.is_reachable = False
            world.note_load(runner)
            job = world.jobs.get(message.job_id) if isinstance(message, Start) else None
            if job is not None and job.runner_id == effect.peer and job.life is JobLife.GRANTED:
                take_back(world, runner, job, effect.payload)
        elif launcher is not None:
            launcher.is_reachable = False
            wanted = world.runners.get(message.runner_id) if isinstance(message, StartRunner) else None
            if wanted is not None and wanted.life is RunnerLife.STARTING:
                forget(world, wanted)
        elif effect.peer in world.gateways and isinstance(message, Granted | Loaded | Refused | Lost):
            gateways.drop(world, effect.peer, "it is not connected, or does not read")

    def _act(self) -> None:
        """Act on what has changed."""
        world = self.world
        while (world.is_settled and (world.woken or world.opened or world.must_replan)) or world.vacated:
            schedule(world)
            vacated, world.vacated = world.vacated, {}
            for runner in vacated.values():
                settle_idle(world, runner)
        touched, world.touched = world.touched, {}
        for launcher_id in touched:
            self._divide_cores(launcher_id)

    def _divide_cores(self, launcher_id: str) -> None:
        world = self.world
        launcher = world.launchers.get(launcher_id)
        if launcher is None:
            return
        budgets = thread_budgets(launcher.host.n_cores, core_demands(world, launcher))
        for runner_id, n_threads in budgets.items():
            runner = world.runners[runner_id]
            if runner.n_threads != n_threads and runner.life in (RunnerLife.READY, RunnerLife.DRAINING):
                runner.n_threads = n_threads
                world.send(runner_id, SetThreads(n_threads=n_threads))
