"""Gateways and launchers as the scheduler knows them. Runners, the third kind of peer, are in `runner`."""

from dataclasses import dataclass, field

from actors.messages.model import HostFacts
from actors.scheduler.memory import Room, Share


@dataclass(slots=True, eq=False)
class Gateway:
    """One gateway worker. Owned by the core's table from its hello to its silence."""

    gateway_id: str
    last_heard_s: float
    is_reachable: bool = True
    """Always: one that is not is given up."""


@dataclass(slots=True, eq=False)
class Launcher:
    """One host's launcher. Owned by the core's table from its hello to its silence."""

    launcher_id: str
    host: HostFacts
    last_heard_s: float
    runner_ids: dict[str, None] = field(default_factory=dict)
    """All that live there, oldest first; also ones that it listed and that have not spoken yet."""
    place: str = ""
    room: Room | None = None
    """What is free there, promises not counted; None when that is to be computed anew."""
    free_bytes: int = 0
    """About as much, to choose by: what was reported last, less what was placed there since, more what has ended."""
    credit: Share = field(default_factory=Share)
    """Shares of the runners that exited since its last report."""
    is_current: bool = False
    """True iff its last report shows all that lives there and what has ended: the same again would be no news."""
    is_draining: bool = False
    is_reachable: bool = True
    """False from an undelivered message to the next sign of life: nothing is placed there meanwhile."""

    @property
    def n_places(self) -> int:
        """How many devices it has; a host without counts as one."""
        return max(1, len(self.host.devices))

    @property
    def takes_runners(self) -> bool:
        """True iff a runner may be placed there."""
        return self.is_reachable and not self.is_draining
