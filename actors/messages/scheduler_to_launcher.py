"""What the scheduler says to a launcher."""

import msgspec

from actors.messages.model import LoadPlan, ModelSpec
from actors.messages.scheduler_to_gateway import Welcome, WhoAreYou


class StartRunner(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Start a runner for one model; idempotent per `runner_id`."""

    runner_id: str
    model: ModelSpec
    plan: LoadPlan


class KillRunner(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, array_like=True):
    """Kill a runner at once (SIGKILL); `RunnerExited` follows. Unknown ids are answered the same way."""

    runner_id: str
    reason: str


ToLauncher = Welcome | WhoAreYou | StartRunner | KillRunner
