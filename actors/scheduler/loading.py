"""The question "how can this model be loaded?", answered for all hosts at once. Pure.

In order of preference: start it now; wait for memory that leaving runners give back; evict idle runners; start it
with fewer slots; the same after waiting or evicting; alone on its host, with whatever fits; wait for busy runners.
Among hosts where as much would have to be given up, the one goes first whose victims cost least together.
A model that fits no host even when that host is empty is refused at once, before anything was evicted for it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from actors.messages.model import LoadOptions, ModelSpec
from actors.scheduler.cache_settings import sized, with_cache
from actors.scheduler.eviction import reluctance, victims_in_order
from actors.scheduler.memory import Room, Share, total
from actors.scheduler.placement import NO_EXPERIENCE, Effort, Experience, Placement, least_bytes, placement_for
from actors.scheduler.runner import Runner
from actors.settings import Settings


@dataclass(frozen=True, slots=True)
class HostView:
    """A host that runners may be placed on."""

    launcher_id: str
    room: Room
    """Free now, less what was promised to models that wait in front."""
    staying: tuple[Runner, ...]
    leaving: tuple[Runner, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Load it now."""

    launcher_id: str
    placement: Placement


@dataclass(frozen=True, slots=True)
class Evict:
    """Drain these, and ask again when they are gone; the room is promised."""

    launcher_id: str
    placement: Placement
    victims: tuple[Runner, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again when something has changed; with a placement, its room is promised."""

    launcher_id: str | None = None
    placement: Placement | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """It fits nowhere."""

    needed_bytes: int
    available_bytes: int


Decision = Start | Evict | Wait | TooLarge


@dataclass(frozen=True, slots=True)
class LoadQuestion:
    """What is asked."""

    model: ModelSpec
    options: LoadOptions
    settings: Settings
    n_excess: int
    """How many runners above `OLLAMA_MAX_LOADED_MODELS` there would be with this one, leaving ones not counted."""
    n_excess_now: int
    """The same with the leaving ones counted."""
    cost_s: Callable[[Runner], float]
    """What an eviction costs."""
    most_cost_s: float = math.inf
    """What all evictions for this load may cost."""
    may_drain_busy: bool = False
    known: Experience = NO_EXPERIENCE

    @property
    def is_replica(self) -> bool:
        """True iff there is a runner already: its costs have a bound, and what is busy beside it is not shown."""
        return self.most_cost_s < math.inf

    def placed(self, room: Room, effort: Effort) -> Placement | None:
        """Place the model into this room."""
        model = sized(self.model, self.settings)
        placement = placement_for(model, self.options, room, self.settings, effort, known=self.known)
        return with_cache(placement, self.settings)

    def victims_in_order(self, runners: Iterable[Runner]) -> list[Runner]:
        """List the runners that may go for this load, cheapest first."""
        return victims_in_order(runners, self.cost_s, may_be_busy=self.may_drain_busy)


def load_decision(question: LoadQuestion, hosts: Sequence[HostView]) -> Decision:
    """Decide how to load a model, given at least one host."""
    best, its_rank = _on_host(question, hosts[0], hosts)
    for host in hosts[1:]:
        if its_rank == _AT_ONCE:
            break
        decision, rank = _on_host(question, host, hosts)
        if rank < its_rank:
            best, its_rank = decision, rank
    return best


_Rank = tuple[int, int, int, float]
"""Lower is better: what is given up to make it fit; start, wait or evict; the worst and the cost of the victims."""
_AT_ONCE: _Rank = (0, 0, 0, 0.0)
_TOO_LARGE: _Rank = (99, 0, 0, 0.0)


def _on_host(question: LoadQuestion, host: HostView, hosts: Sequence[HostView]) -> tuple[Decision, _Rank]:
    """Give the best decision for one host and its rank."""
    for rank, effort in enumerate(() if question.known.must_be_alone else (Effort.WANTED, Effort.SQUEEZED)):
        decision = _with_effort(question, host, hosts, effort)
        if decision is not None:
            kind = {Start: 0, Wait: 1, Evict: 2}[type(decision)]
            victims = decision.victims if isinstance(decision, Evict) else ()
            return decision, (rank, kind, max(map(reluctance, victims), default=0), sum(map(question.cost_s, victims)))
    if question.is_replica:
        return Wait(), _TOO_LARGE
    soon = host.room.plus(total(runner.share for runner in host.leaving))
    empty = soon.plus(total(runner.share for runner in host.staying if not runner.is_pinned))
    alone = question.placed(empty, Effort.ALONE)
    if alone is None:
        model = sized(question.model, question.settings)
        needed = least_bytes(model, question.options, empty, question.settings, question.known)
        return TooLarge(needed, empty.total_bytes), _TOO_LARGE
    return _alone(question, host, alone), (2, 0, 0, 0.0)


def _with_effort(
    question: LoadQuestion, host: HostView, hosts: Sequence[HostView], effort: Effort
) -> Start | Evict | Wait | None:
    now = question.placed(host.room, effort)
    if now is not None and question.n_excess_now <= 0:
        return Start(host.launcher_id, now)
    soon_room = host.room.plus(total(runner.share for runner in host.leaving))
    soon = question.placed(soon_room, effort)
    if soon is not None and question.n_excess <= 0:
        return Wait(host.launcher_id, soon)
    victims = _victims(question, host, hosts, lambda room: question.placed(room, effort) is not None)
    if victims is None:
        return None
    after = question.placed(soon_room.plus(_share_on(host, victims)), effort)
    return Evict(host.launcher_id, after, victims) if after is not None else None


def _victims(
    question: LoadQuestion, host: HostView, hosts: Sequence[HostView], is_enough: Callable[[Room], bool]
) -> tuple[Runner, ...] | None:
    """Choose the fewest and cheapest runners whose going makes enough room, or None if all would not."""
    soon = host.room.plus(total(runner.share for runner in host.leaving))
    chosen: list[Runner] = []
    for runner in question.victims_in_order(host.staying):
        if is_enough(soon.plus(_share_on(host, chosen))):
            break
        chosen.append(runner)
    if not is_enough(soon.plus(_share_on(host, chosen))):
        return None
    for runner in chosen[:-1]:  # a small one that went in vain, before a large one that suffices alone
        rest = [each for each in chosen if each is not runner]
        if is_enough(soon.plus(_share_on(host, rest))):
            chosen = rest
    everywhere = [runner for each in hosts for runner in each.staying]
    for runner in question.victims_in_order(everywhere):
        if len(chosen) >= question.n_excess:
            break
        if runner not in chosen:
            chosen.append(runner)
    is_dear = question.is_replica and sum(map(question.cost_s, chosen)) > question.most_cost_s
    return tuple(chosen) if len(chosen) >= question.n_excess and not is_dear else None


def _share_on(host: HostView, runners: Sequence[Runner]) -> Share:
    return total(runner.share for runner in runners if runner in host.staying)


def _alone(question: LoadQuestion, host: HostView, alone: Placement) -> Decision:
    """Decide for a model that needs its host for itself."""
    if not host.staying and not host.leaving and question.n_excess_now <= 0:
        return Start(host.launcher_id, alone)
    victims = tuple(question.victims_in_order(host.staying))
    if victims and len(victims) == len(host.staying):
        return Evict(host.launcher_id, alone, victims)
    return Wait(host.launcher_id, alone) if not host.staying else Wait()
