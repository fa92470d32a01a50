"""What is known of a model from experience: how it loads, how long its jobs take, how often it is wanted, how it fails.

Figures are learned by exponential averages. The use of a model is a rate that decays with `_USE_DECAY_S`, from which
follows how likely it is wanted again soon (`eviction`). Failures make the next start wait (`actors.restart`), and after
`BREAKER_DEATHS` of them in a row the circuit breaker opens: nothing is loaded and requests are refused, for
`BREAKER_S` and then ever longer; then one load is tried. A finished job closes it.
"""

import math
from dataclasses import dataclass

from actors.errors import Failure, ModelSuspended
from actors.messages.model import LoadPlan, ModelSpec
from actors.restart import RestartPolicy
from actors.scheduler.placement import Experience, kv_bytes, overhead_bytes

BREAKER_DEATHS = 5
"""So many in a row are no accident; the second one under the same job ends that job (`PoisonedJob`)."""
BREAKER_S = 30.0
_BREAKER_LONGEST_S = 300.0
_USE_DECAY_S = 600.0
_REUSE_WITHIN_S = 60.0
"""Within much more, all models that are used at all look alike: 300 seconds evicted no better than plain LRU."""
_LEARN = 0.25
_GUESSED_SERVICE_S = 5.0
_GUESSED_LOAD_S = 0.3
_GUESSED_BYTES_PER_S = 1 << 30
_MOST_OVERHEAD = 4
"""A runner that claims more than so many times the estimate, and a GiB, is not believed."""


@dataclass(slots=True, eq=False)
class Record:
    """The record of one model. Owned by the core's table, which forgets the least recently used."""

    model: ModelSpec
    """As it was described last."""
    service_s: float = 0.0
    """How long a job held its slot; 0 while none has ended."""
    _uses: float = 0.0
    _used_s: float = 0.0
    _policy: RestartPolicy | None = None
    """None while no load or runner has failed since a job ended well."""
    load_s: float = 0.0
    """How long a load took; 0 while there was none."""
    overhead_bytes: int | None = None
    """What loads took beside weights and cache."""
    max_num_ctx: int | None = None
    """What an automatic context may be at most, since a larger one ran out of memory."""
    n_ooms: int = 0
    """Loads in a row that ran out of memory."""
    opens_s: float = -math.inf
    """Nothing is loaded before."""
    is_open: bool = False
    """True iff the circuit breaker is open, or on trial."""
    last_failure: Failure | None = None
    drained_for: str = ""
    """Why the last runner with other load options had to go; empty once the next is loaded."""
    interrupted_s: float = -math.inf
    """When a host was lost that loaded it: whoever waits since then, or longer, has seen it once."""

    @property
    def usual_s(self) -> float:
        """How long a job of this model holds a slot, as far as known."""
        return self.service_s or _GUESSED_SERVICE_S

    @property
    def usual_load_s(self) -> float:
        """How long a load takes, as far as known."""
        return self.load_s or _GUESSED_LOAD_S + self.model.weights_bytes / _GUESSED_BYTES_PER_S

    @property
    def n_deaths(self) -> int:
        """Deaths and failed loads in a row."""
        return self._policy.n_deaths if self._policy is not None else 0

    @property
    def experience(self) -> Experience:
        """What placement is to know."""
        return Experience(
            overhead_bytes=self.overhead_bytes, max_num_ctx=self.max_num_ctx, must_be_alone=self.n_ooms > 0
        )

    def used(self, now_s: float) -> None:
        """Count a job."""
        self._uses = 1.0 + self._uses * math.exp((self._used_s - now_s) / _USE_DECAY_S)
        self._used_s = now_s

    def likelihood(self, now_s: float, *, within_s: float = _REUSE_WITHIN_S) -> float:
        """Give how likely the model is wanted again within a time, or soon, between 0 and 1."""
        rate = self._uses * math.exp((self._used_s - now_s) / _USE_DECAY_S) / _USE_DECAY_S
        return 1.0 - math.exp(-rate * max(0.0, min(within_s, _REUSE_WITHIN_S)))

    def served(self, took_s: float) -> None:
        """Learn from a job that ended well; this ends a row of failures, too."""
        self.service_s += (took_s - self.service_s) * _LEARN if self.service_s else took_s
        if self._policy is not None:
            self._policy, self.is_open, self.opens_s = None, False, -math.inf

    def loaded(self, took_s: float) -> None:
        """Learn from a load that succeeded."""
        self.load_s += (took_s - self.load_s) * _LEARN if self.load_s else took_s
        self.n_ooms, self.drained_for = 0, ""

    def measured(self, model: ModelSpec, plan: LoadPlan, size_bytes: int) -> None:
        """Learn what a load took beside weights and cache, within what is believable."""
        taken = size_bytes - model.weights_bytes - kv_bytes(model, plan.num_ctx, plan.n_slots)
        estimate = overhead_bytes(model)
        self.overhead_bytes = max(estimate // _MOST_OVERHEAD, min(taken, _MOST_OVERHEAD * estimate + (1 << 30)))

    def died(self, now_s: float, *, lived_s: float, failure: Failure) -> None:
        """Count a death or a failed load: the next start waits, and after some in a row the breaker opens."""
        self._policy = self._policy or RestartPolicy()
        delay_s = self._policy.delay_s(lived_s)
        self.last_failure = failure
        n_over = self._policy.n_deaths - BREAKER_DEATHS
        if n_over >= 0:
            self.is_open = True
            delay_s = min(BREAKER_S * 2.0 ** min(n_over, 16), _BREAKER_LONGEST_S)
        self.opens_s = now_s + delay_s

    def refusal(self, now_s: float) -> Failure | None:
        """Give the failure for a request that comes while the breaker is open, else None."""
        if not self.is_open or now_s >= self.opens_s:
            return None
        reason = self.last_failure.message if self.last_failure is not None else "unknown"
        return ModelSuspended(
            self.model.name, reason=reason, n_deaths=self.n_deaths, again_in_s=self.opens_s - now_s
        ).as_failure()
