"""On whose account a request goes, and with which priority: as the scheduler is told."""

import pytest

from tests.gateway.conftest import RunningGateway
from tests.support.stub_backend import StubBackend

BODY = {"model": "smollm2", "prompt": "Hi", "stream": False}


async def test_caller_is_known_by_key_else_by_address(gateway: RunningGateway, backend: StubBackend) -> None:
    """The two ways to send a key mean the same tenant, and the key itself goes nowhere."""
    for headers in ({}, {"Authorization": "Bearer secret"}, {"X-Api-Key": "secret"}, {"Authorization": "Bearer other"}):
        assert (await gateway.post("/api/generate", BODY, headers=headers)).status_code == 200
    address, bearer, key, other = (submit.tenant for submit in backend.submitted.items)
    assert address == "address:127.0.0.1"
    assert bearer == key != other
    assert bearer.startswith("key:")
    assert "secret" not in bearer


@pytest.mark.parametrize(("text", "priority"), [("", 0), ("3", 3), ("-5", -5), ("+1", 1), ("high", 2), ("Low", -2)])
async def test_caller_s_priority_reaches_the_scheduler(
    gateway: RunningGateway, backend: StubBackend, text: str, priority: int
) -> None:
    """A number or a word."""
    await gateway.post("/api/generate", BODY, headers={"X-Priority": text})
    assert backend.submitted.items[0].priority == priority


@pytest.mark.parametrize("text", ["6", "-6", "1.5", "urgent", "99999999999999999999"])
async def test_caller_s_priority_that_is_none_is_refused(
    gateway: RunningGateway, backend: StubBackend, text: str
) -> None:
    """Before anything is queued, with the range."""
    response = await gateway.post("/api/generate", BODY, headers={"X-Priority": text})
    assert response.status_code == 400
    assert "-5 to 5" in response.json()["error"]
    assert backend.submitted.items == []
