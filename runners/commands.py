"""What the two threads of a runner tell each other: commands go to the decode thread, events come back."""

import dataclasses

from actors.errors import Failure
from actors.messages.model import JobRef
from actors.messages.runner_to_scheduler import Outcome
from runners.admission import Arrival
from runners.llama.model import Model


@dataclasses.dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for this job."""

    job_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class SetThreads:
    """Use so many cores from the next step on."""

    n_threads: int


@dataclasses.dataclass(frozen=True, slots=True)
class Stop:
    """End the thread; what still runs is dropped."""


Command = Arrival | Cancel | SetThreads | Stop


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """The model is ready."""

    model: Model
    load_s: float
    cache_tokens: int
    """What the cache holds now, all slots together."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """A job has left."""

    ref: JobRef
    outcome: Outcome


@dataclasses.dataclass(frozen=True, slots=True)
class Broken:
    """The load failed, or the thread met a bug; it has ended."""

    failure: Failure


Event = Loaded | Ended | Broken
