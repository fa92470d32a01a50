"""What a host's launcher says to the scheduler. Its socket identity is its launcher id."""

import msgspec

from actors.errors import Failure
from actors.messages.model import HostFacts


class LauncherHello(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """First message to a scheduler, and to every new one: the host, and which runners live on it."""

    host: HostFacts
    runner_ids: tuple[str, ...] = ()
    place: str = ""
    """Host and run folder, whose lock one launcher holds at a time: a second one there means that the first is dead,
    and its runners with it."""


class LauncherBeat(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Heartbeat with fresh facts."""

    host: HostFacts


class RunnerExited(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """A runner process has ended and was reaped: the authority on a runner's death.

    `exit_code` is negative for a signal. `failure` says why it could not be started at all.
    """

    runner_id: str
    exit_code: int
    failure: Failure | None = None


class LauncherDraining(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """The launcher was told to stop: place nothing more here."""


FromLauncher = LauncherHello | LauncherBeat | RunnerExited | LauncherDraining
