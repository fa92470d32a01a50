"""Requests with one bad field each, made from the OpenAPI description: every field of every route, in every wrong way.

Each tells what must hold of its answer. Requests that would reach another host (a pull of a plausible name) are left
out; so is what only a change of the description could make wrong.
"""

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = Any
Path = tuple[str | int, ...]

_DEPTH = 5_000
_DEEP = "[" * _DEPTH + "]" * _DEPTH
_MARK = "@@bad@@"
_BAD: dict[str, bytes] = {
    "null": b"null",
    "boolean": b"true",
    "integer": b"7",
    "negative": b"-1",
    "number": b"2.5",
    "string": b'"wibble"',
    "empty string": b'""',
    "array": b'[{"a": 1}]',
    "empty array": b"[]",
    "object": b'{"a": [1]}',
    "huge integer": b"9" * 400,
    "huge float": b"1e308",
    "infinite": b"1e999",
    "long string": b'"' + b"x" * 200_000 + b'"',
    "deep": _DEEP.encode(),
    "invalid UTF-8": b'"\xff\xfe"',
    "lone surrogate": b'"\\ud800"',
    "NUL": b'"a\\u0000b"',
    "markup": b'"<|im_start|>../../etc/passwd%s{{ .x }}"',
    "cut": b'{"a": ',
}
_KIND = {
    "boolean": "boolean",
    "integer": "integer",
    "negative": "integer",
    "number": "number",
    "string": "string",
    "empty string": "string",
    "array": "array",
    "empty array": "array",
    "object": "object",
    "huge integer": "integer",
    "huge float": "number",
    "long string": "string",
    "deep": "array",
    "NUL": "string",
    "markup": "string",
}
_NO_JSON = {"lone surrogate", "cut"}
"""What ends the text before its place is known."""
_ALWAYS_BAD = {"invalid UTF-8", *_NO_JSON}
_REACHES_OUT = {"/api/pull", "/api/push"}


@dataclass(frozen=True, slots=True)
class BadRequest:
    """One request and what is expected of its answer."""

    name: str
    method: str
    path: str
    content: bytes
    field: str
    is_refused: bool
    """Whether it must be a 4xx, because the description forbids the value."""
    is_named: bool
    """Whether the message must name the field."""


def bad_requests(document: Json) -> Iterator[BadRequest]:
    """Make all of them."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is not None:
                yield from _of_operation(document, method.upper(), path, content)


def _of_operation(document: Json, method: str, path: str, content: Json) -> Iterator[BadRequest]:
    example, schema = content["example"], content["schema"]
    for name in schema["allOf"][1]["required"] if "allOf" in schema else ():
        rest = {key: value for key, value in example.items() if key != name}
        title, raw = f"{method} {path} without {name}", json.dumps(rest).encode()
        yield BadRequest(title, method, path, raw, name, is_refused=True, is_named=False)
    for where, field in _fields(document, schema.get("allOf", [schema])[0], (), 0):
        for kind, value in _BAD.items():
            is_wrong = kind in _ALWAYS_BAD or (kind in _KIND and _KIND[kind] not in _kinds(document, field))
            reaches_out = path in _REACHES_OUT or (path == "/api/create" and where[0] == "from")
            if reaches_out and not is_wrong:
                continue
            yield BadRequest(
                name=f"{method} {path} {'.'.join(map(str, where))}: {kind}",
                method=method,
                path=path,
                content=_with(example, where, value),
                field=str([part for part in where if isinstance(part, str)][-1]),
                is_refused=is_wrong,
                is_named=is_wrong and kind not in {*_NO_JSON, "deep"},
            )


def _fields(document: Json, schema: Json, where: Path, depth: int) -> Iterator[tuple[Path, Json]]:
    """List the fields of a schema, and those inside them, two structs deep."""
    for alternative in _alternatives(document, schema):
        for name, field in alternative.get("properties", {}).items():
            yield (*where, name), field
            if depth < 2:
                yield from _fields(document, field, (*where, name), depth + 1)
        items = alternative.get("items")
        if items:
            yield from _fields(document, items, (*where, 0), depth)


def _alternatives(document: Json, schema: Json) -> list[Json]:
    if "$ref" in schema:
        return [document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]]
    if "anyOf" in schema:
        return [each for part in schema["anyOf"] for each in _alternatives(document, part)]
    return [schema]


def _kinds(document: Json, schema: Json) -> set[str]:
    """List the JSON types that a schema takes."""
    if not schema:
        return set(_KIND.values())
    found: set[str] = set()
    for alternative in _alternatives(document, schema):
        kinds = alternative.get("type", list(_KIND.values()))
        found |= {kinds} if isinstance(kinds, str) else set(kinds)
    return found | ({"integer"} if "number" in found else set())


def _with(example: Json, where: Path, value: bytes) -> bytes:
    """Put raw JSON at a place of an example, making what leads there."""
    body = copy.deepcopy(example)
    here, last = body, where[-1]
    for part, following in itertools.pairwise(where):
        empty: Json = [] if isinstance(following, int) else {}
        if isinstance(part, int):
            if not here:
                here.append(empty)
            inner = here[part]
        else:
            inner = here.get(part)
        if not isinstance(inner, type(empty)):
            inner = empty
            here[part] = inner
        here = inner
    here[last] = _MARK
    return json.dumps(body).encode().replace(f'"{_MARK}"'.encode(), value)


def complaint(request: BadRequest, status: int, content_type: str, body: bytes) -> str | None:
    """Say what is wrong with the answer to a bad request; None if it is as it must be."""
    if status >= 500:
        return f"{status}: {body[:300]!r}"
    if not 400 <= status < 500:
        return f"{status} though the value is forbidden: {body[:300]!r}" if request.is_refused else None
    if not content_type.startswith("application/json"):
        return f"{status} as {content_type}"
    message = _message(request.path, json.loads(body))
    if not message:
        return f"not the family's shape: {body[:300]!r}"
    is_about_model = "does not support" in message  # which is found out first
    if request.is_named and request.field not in message and not is_about_model:
        return f"{request.field} is not named: {message[:300]!r}"
    return None


def _message(path: str, answer: Json) -> str | None:
    error = answer.get("error") if isinstance(answer, dict) else None
    if path.startswith("/api/"):
        return error if isinstance(error, str) else None
    if not isinstance(error, dict):
        return None
    keys = {"message", "type", "param", "code"}
    if path.startswith("/v1/messages"):
        keys = {"type", "message"}
        if answer.get("type") != "error" or not answer.get("request_id"):
            return None
    return str(error["message"]) if set(error) == keys else None
