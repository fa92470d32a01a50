"""An embedding job as the runner holds it: token inputs, and how far it got."""

import array
import dataclasses

from actors.messages.model import JobRef


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PreparedEmbedding:
    """A job whose inputs are tokens that fit: what the trio thread hands to the decode thread."""

    ref: JobRef
    inputs: "tuple[array.array[int], ...]"
    dimensions: int = 0
    """Keep so many numbers of each vector; 0 for all."""
    is_normalised: bool = True
    """False for scores, which are told as the model gives them."""

    @property
    def n_tokens(self) -> int:
        """Count the tokens of all inputs."""
        return sum(map(len, self.inputs))


@dataclasses.dataclass(slots=True, eq=False)
class RunningEmbedding:
    """A job that is being evaluated; owned by the decode thread."""

    prepared: PreparedEmbedding
    admitted_ns: int
    n_started: int = 0
    """Inputs that were begun, which is in their order."""
    n_told: int = 0
    """Inputs whose vectors were handed to the outbox, which is in their order, too."""
    finished: dict[int, bytes] = dataclasses.field(default_factory=dict)
    """Vectors that wait for one of an earlier, longer input."""

    @property
    def ref(self) -> JobRef:
        """The job's identity."""
        return self.prepared.ref

    @property
    def has_unstarted(self) -> bool:
        """True iff an input is still to be begun."""
        return self.n_started < len(self.prepared.inputs)

    @property
    def is_done(self) -> bool:
        """True iff every vector was told."""
        return self.n_told == len(self.prepared.inputs)


@dataclasses.dataclass(slots=True, eq=False)
class Passage:
    """One input in a sequence of the context; owned by the decode thread."""

    job: RunningEmbedding
    index: int
    sequence: int
    n_done: int = 0

    @property
    def tokens(self) -> "array.array[int]":
        """The whole input."""
        return self.job.prepared.inputs[self.index]

    @property
    def remaining(self) -> int:
        """How many of its tokens were not evaluated yet."""
        return len(self.tokens) - self.n_done
