"""Tests of the name by which runners publish to a gateway."""

from tests.gateway.test_jobs import running_jobs
from tests.support.stub_backend import StubBackend


async def test_gateway_id_is_new_for_each_life_and_no_beginning_of_another(backend: StubBackend) -> None:
    """Topics match by their beginning: with ids of different lengths a gateway could get another one's parts."""
    async with running_jobs(backend.endpoint) as first, running_jobs(backend.endpoint) as second:
        assert first.gateway_id != second.gateway_id
        assert len(first.gateway_id) == len(second.gateway_id)
