"""What pulls and pushes have in common: who asks, how fast, and what ends them."""

from dataclasses import dataclass, field

from registry.download.pace import Pace
from registry.remote.abort import Abort
from registry.remote.client import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One pull or push. `abort.set()`, from any thread, ends it wherever it waits."""

    caller: Caller = field(default_factory=Caller)
    pace: Pace = field(default_factory=Pace)
    insecure: bool = False
    """Ask over plain HTTP."""
    allows_local: bool = False
    """Whether files on this machine may be named."""
    abort: Abort = field(default_factory=Abort)
