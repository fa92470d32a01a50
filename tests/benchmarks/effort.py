"""How much is measured: the full run, whose figures count, and a quick one for working on the benchmarks."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """The size of every measurement."""

    rounds: int
    answer_tokens: int
    """Length of each answer in `streams`."""
    answers_per_client: Mapping[int, int]
    """How many answers each client asks for, one after the other, by number of clients."""
    first_tokens: int
    """Samples of the first token per round and contender."""
    cold_starts: int
    """Samples of the cold start per round and contender."""
    embeddings: int
    """Samples per round, contender and way of asking in `embeddings`."""
    rewritings: int
    """Samples per round and contender in `rewriting`."""
    formats: int
    """Samples per round, contender and kind of answer in `formats`."""
    short_requests: int
    """Requests in `leak`."""
    idle_s: float
    second_model_tokens: int
    """Length of the answer beside which a second model loads; it must last longer than the load."""
    holes_s: float
    """Decoding time per pattern of slots."""
    simulated_jobs: int
    """Jobs for the largest simulated cluster in `scheduling`."""
    pull_bytes: int
    """Size of the file that is pulled."""


FULL = Effort(
    rounds=3,
    answer_tokens=128,
    answers_per_client={1: 3, 4: 2, 8: 2, 16: 1},
    first_tokens=15,
    cold_starts=3,
    embeddings=8,
    rewritings=2,
    formats=12,
    short_requests=10_000,
    idle_s=15.0,
    second_model_tokens=1500,
    holes_s=4.0,
    simulated_jobs=100_000,
    pull_bytes=512 << 20,
)
QUICK = Effort(
    rounds=2,
    answer_tokens=64,
    answers_per_client={1: 2, 4: 1, 8: 1, 16: 1},
    first_tokens=6,
    cold_starts=2,
    embeddings=4,
    rewritings=1,
    formats=6,
    short_requests=2_000,
    idle_s=10.0,
    second_model_tokens=1500,
    holes_s=1.5,
    simulated_jobs=20_000,
    pull_bytes=256 << 20,
)
