"""`/api/status`, `/api/pin`, `/api/drain`."""

from actors.messages.gateway_to_scheduler import Pin, Retire
from actors.messages.model import HostFacts
from actors.messages.overview import HostStatus, WaiterStatus
from actors.messages.scheduler_to_gateway import Overview
from tests.gateway.conftest import RunningGateway
from tests.support.stub_backend import StubBackend


async def test_status_tells_all_that_the_scheduler_knows(gateway: RunningGateway, backend: StubBackend) -> None:
    """Hosts, runners, who waits and for how long, and the last notes."""
    facts = HostFacts(n_cores=2, memory_total_bytes=8, memory_available_bytes=4)
    waiter = WaiterStatus(job_id="j", name="m", tenant="address:1", priority=0, waited_s=1.0, place=0, wait_s=2.5)
    backend.overview = Overview(
        request_id="",
        hosts=(HostStatus(launcher_id="h", facts=facts, n_runners=0, is_draining=False),),
        waiting=(waiter,),
        notes=("loaded m",),
    )
    status = (await gateway.client.get("/api/status")).json()
    assert set(status) == {"hosts", "runners", "waiting", "models", "notes"}
    assert status["hosts"][0]["facts"]["n_cores"] == 2
    assert status["waiting"][0] == {
        "job_id": "j",
        "name": "m",
        "tenant": "address:1",
        "priority": 0,
        "waited_s": 1.0,
        "place": 0,
        "wait_s": 2.5,
    }
    assert status["notes"] == ["loaded m"]


async def test_pin_names_a_model_and_may_be_undone(gateway: RunningGateway, backend: StubBackend) -> None:
    """The scheduler is told the key of what is loaded."""
    reply = await gateway.post("/api/pin", {"model": "smollm2"})
    assert reply.json() == {"model": "smollm2:latest", "pinned": True, "runners": 1}
    assert (await gateway.post("/api/pin", {"model": "smollm2", "pin": False})).json()["pinned"] is False
    first, second = backend.orders.items
    assert isinstance(first, Pin)
    assert isinstance(second, Pin)
    assert (first.is_pinned, second.is_pinned) == (True, False)
    assert first.model_key == second.model_key


async def test_pin_of_an_unknown_model_is_not_found(gateway: RunningGateway) -> None:
    """As everywhere."""
    assert (await gateway.post("/api/pin", {"model": "nope"})).status_code == 404


async def test_drain_names_a_host_or_a_runner(gateway: RunningGateway, backend: StubBackend) -> None:
    """An unknown one, or none, is a clear error."""
    reply = await gateway.post("/api/drain", {"target": "host-1"})
    assert reply.json() == {"target": "host-1", "draining": True, "runners": 1}
    assert isinstance(backend.orders.items[0], Retire)
    unknown = await gateway.post("/api/drain", {"target": "nobody"})
    assert (unknown.status_code, "/api/status" in unknown.json()["error"]) == (400, True)
    assert (await gateway.post("/api/drain", {})).status_code == 400
