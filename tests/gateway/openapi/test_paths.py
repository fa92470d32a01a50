"""Path parameters with whatever a client may write into them."""

import pytest

from gateway.openapi.operations import OPERATIONS, Operation
from tests.gateway.conftest import RunningGateway

ODD = (
    "%00",
    "%ff%fe",
    "..%2f..%2fetc%2fpasswd",
    "a" * 8000,
    "%f0%9f%a6%99",
    "sha256:" + "g" * 64,
    "a%20b",
    "{}",
    "%25s",
)
PARAMETERS = ("<digest>", "<path:name>", "<response_id>")


@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS if any(name in each.path for name in PARAMETERS)],
    ids=lambda operation: operation.operation_id,
)
async def test_odd_path_parameters_are_refused(gateway: RunningGateway, operation: Operation) -> None:
    """Never an error of ours, and never a file."""
    for value in ODD:
        asked = operation.path
        for name in PARAMETERS:
            asked = asked.replace(name, value)
        response = await gateway.client.request(operation.method, asked)
        assert 400 <= response.status_code < 500, (asked[:80], response.text)
