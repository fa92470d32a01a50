"""Messages between the processes: one module per direction, all tagged, frozen and versioned by the codec.

`model` and `job` hold the values inside. Durations travel, never clock readings: clocks differ per process.
"""

from actors.messages import (
    gateway_to_runner,
    gateway_to_scheduler,
    job,
    launcher_to_runner,
    launcher_to_scheduler,
    model,
    overview,
    runner_to_gateway,
    runner_to_scheduler,
    scheduler_to_gateway,
    scheduler_to_launcher,
    scheduler_to_runner,
)

__all__ = [
    "gateway_to_runner",
    "gateway_to_scheduler",
    "job",
    "launcher_to_runner",
    "launcher_to_scheduler",
    "model",
    "overview",
    "runner_to_gateway",
    "runner_to_scheduler",
    "scheduler_to_gateway",
    "scheduler_to_launcher",
    "scheduler_to_runner",
]
