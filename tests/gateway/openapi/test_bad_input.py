"""Bad input from the description: a sample of it here, all of it by `python -m tests.benchmarks.bad_input`."""

import random

import trio

from gateway.openapi.document import openapi_document
from tests.gateway.conftest import DEADLINE_S, RunningGateway
from tests.support.bad_input import bad_requests, complaint

N_REQUESTS = 600


async def test_bad_input_is_refused_by_name_and_never_a_server_error(gateway: RunningGateway) -> None:
    """Any field of any route with a value that it must not have: a 4xx in the family's shape that names it."""
    everything = [each for each in bad_requests(openapi_document()) if each.path != "/api/delete" or each.is_refused]
    chosen = random.Random(6).sample(everything, N_REQUESTS)  # noqa: S311  # a sample, no secret
    found: dict[str, str] = {}
    for request in chosen:
        with trio.fail_after(DEADLINE_S):
            response = await gateway.client.request(request.method, request.path, content=request.content)
        wrong = complaint(request, response.status_code, response.headers.get("content-type", ""), response.content)
        if wrong:
            found[request.name] = wrong
    assert not found
    assert gateway.jobs.n_jobs == 0
