"""The OpenAPI description is true: the same routes and bodies as the code, examples that are answered."""

import ast
from pathlib import Path

import pytest

from gateway.openapi.document import openapi_document
from gateway.openapi.operations import OPERATIONS, Operation
from tests.gateway.conftest import RunningGateway

ROUTES = Path(__file__).parents[3] / "gateway" / "routes"


def _routes() -> dict[tuple[str, str], str | None]:
    """Read from the code which routes there are, and which struct each decodes its body to."""
    found: dict[tuple[str, str], str | None] = {}
    for path in ROUTES.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        real = {
            alias.asname: alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.asname
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.AsyncFunctionDef):
                body = _body_of(node)
                found |= {place: real.get(body, body) if body else None for place in _places(node)}
    return found


def _places(function: ast.AsyncFunctionDef) -> list[tuple[str, str]]:
    places = []
    for decorator in function.decorator_list:
        if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)):
            continue
        if not isinstance(decorator.args[0], ast.Constant):
            continue  # the registry's, whose protocol has a description of its own
        kind = decorator.func.attr
        path = ast.literal_eval(decorator.args[0])
        if path.startswith("/v2"):
            continue
        methods = [kind.upper()] if kind != "route" else ast.literal_eval(decorator.keywords[0].value)
        places += [(method, path) for method in methods]
    return places


def _body_of(function: ast.AsyncFunctionDef) -> str | None:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "read_body":
            assert isinstance(node.args[0], ast.Name)
            return node.args[0].id
    return None


def test_operations_are_the_routes_with_their_bodies() -> None:
    """A route that is missing here, or gone from the code, or reads another body, fails; see `operations.py`."""
    told = {(each.method, each.path): each.body.__name__ if each.body else None for each in OPERATIONS}
    assert told == _routes()


def test_document_refers_to_nothing_that_is_not_there() -> None:
    """Every reference leads to a schema, every schema is used, names are unique."""
    document = openapi_document()
    text = str(document)
    schemas = document["components"]["schemas"]
    used = {part.partition("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert used == set(schemas)
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(ids)) == len(ids) == len(OPERATIONS)


async def test_document_is_served(gateway: RunningGateway) -> None:
    """As JSON, to GET and HEAD."""
    response = await gateway.client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json() == openapi_document()
    assert (await gateway.client.head("/openapi.json")).status_code == 200


_LEFT_OUT = ("/api/embed", "/v1/embeddings", "/api/rerank", "/v1/rerank", "/api/pull", "/api/push")
"""Whose examples need a runner that embeds, or a registry; their own tests ask for the same."""


@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS if each.body and not each.path.startswith(_LEFT_OUT)],
    ids=lambda operation: operation.operation_id,
)
async def test_example_is_answered(gateway: RunningGateway, operation: Operation) -> None:
    """Each example is answered with the status and the type that are told, whole and in pieces."""
    bodies = [operation.example]
    if operation.streams:
        bodies = [operation.example | {"stream": stream} for stream in (True, False)]
    for body in bodies:
        response = await gateway.client.request(operation.method, operation.path, json=body)
        assert response.status_code in operation.success, response.text
        told = operation.streams if body.get("stream") else operation.reply
        assert response.headers.get("content-type", "").partition(";")[0] == (told or "")
