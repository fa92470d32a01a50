"""What HTTP promises of every path of the description: HEAD, OPTIONS, wrong methods, slashes, foreign pages."""

import httpx

from gateway.openapi.operations import OPERATIONS
from tests.gateway.conftest import RunningGateway

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def _paths() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        path = (
            operation.path.replace("<digest>", "sha256:" + "0" * 64)
            .replace("<name>", "smollm2")
            .replace("<path:name>", "library/smollm2")
            .replace("<response_id>", "resp_1")
        )
        allowed = found.setdefault(path, set())
        allowed |= {operation.method, "HEAD"} if operation.method == "GET" else {operation.method}
    return found


async def test_wrong_methods_are_told_what_is_allowed(gateway: RunningGateway) -> None:
    """405 as text, with `Allow`."""
    for path, allowed in _paths().items():
        for method in set(METHODS) - allowed:
            response = await gateway.client.request(method, path)
            assert response.status_code == 405, (method, path)
            assert set(response.headers["allow"].split(", ")) == allowed
            assert response.headers["content-type"] == "text/plain"


async def test_head_is_get_without_its_body(gateway: RunningGateway) -> None:
    """The same status and type, the length of what is not sent."""
    for path, allowed in _paths().items():
        if "GET" in allowed:
            whole, head = await gateway.client.get(path), await gateway.client.head(path)
            assert (head.status_code, head.content) == (whole.status_code, b"")
            assert head.headers["content-type"] == whole.headers["content-type"]


async def test_slash_at_the_end_is_redirected_to_the_path_without(gateway: RunningGateway) -> None:
    """301 for GET, 307 for what has a body; a slash behind an unknown path is unknown."""
    for path, allowed in _paths().items():
        method = "GET" if "GET" in allowed else min(allowed - {"HEAD"}, default="HEAD")
        if path != "/":
            response = await gateway.client.request(method, f"{path}/")
            assert response.status_code == (301 if method in {"GET", "HEAD"} else 307), (method, path)
            assert response.headers["location"] == path
    assert (await gateway.client.get("/api/nothing/")).status_code == 404


async def test_pages_of_allowed_origins_may_call_and_others_not(gateway: RunningGateway) -> None:
    """A preflight is 204 for the former and 403 for the latter, on every path; none may send credentials."""
    for path in _paths():
        ours = await _preflight(gateway, path, "http://localhost:3000")
        assert (ours.status_code, ours.headers["access-control-allow-origin"]) == (204, "http://localhost:3000")
        assert "x-api-key" in ours.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in ours.headers
        foreign = await _preflight(gateway, path, "https://evil.example.com")
        assert (foreign.status_code, foreign.content) == (403, b"")


async def _preflight(gateway: RunningGateway, path: str, origin: str) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return await gateway.client.request("OPTIONS", path, headers=headers)
