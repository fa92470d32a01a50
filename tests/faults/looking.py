"""What a server says that it has loaded, and waiting until it says what a test needs."""

from typing import Any

from tests.faults.exchange import answer
from tests.support.server import eventually_answered


async def loaded(port: int) -> dict[str, dict[str, Any]]:
    """Give the loaded models by name, as `/api/ps` shows them."""
    status, reply = await answer(port, "/api/ps")
    assert status == 200
    return {model["name"]: model for model in reply["models"]}


async def wait_queued(port: int, name: str, n_queued: int) -> None:
    """Wait until so many requests wait for a loaded model."""
    await _wait(port, name, "queued", n_queued)


async def wait_active(port: int, name: str, n_active: int) -> None:
    """Wait until so many slots of a model are given away."""
    await _wait(port, name, "active", n_active)


async def wait_unloaded(port: int, name: str) -> None:
    """Wait until a model is not loaded any more."""

    async def is_gone() -> bool | None:
        return True if name not in await loaded(port) else None

    await eventually_answered(is_gone)


async def _wait(port: int, name: str, figure: str, wanted: int) -> None:
    async def look() -> bool | None:
        model = (await loaded(port)).get(name)
        return True if model is not None and model["llamactor"][figure] == wanted else None

    await eventually_answered(look)
