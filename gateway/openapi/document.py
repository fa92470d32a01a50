"""The OpenAPI 3.1 document: paths from the table of operations, schemas from the structs that decode the bodies."""

import math
from typing import Any

from gateway.errors import Family, family_of
from gateway.openapi.operations import OPERATIONS, Operation
from gateway.openapi.schemas import Schemas
from gateway.version import llamactor_version
from registry.parameters import OPTIONS, OptionType

_REF = "#/components/schemas/{name}"
_OPTION_TYPES: dict[OptionType, dict[str, Any]] = {
    OptionType.INTEGER: {"type": ["number", "null"]},  # one with a fraction is cut
    OptionType.FLOAT: {"type": ["number", "null"]},
    OptionType.BOOLEAN: {"type": ["boolean", "null"]},
    OptionType.STRINGS: {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
}
_MESSAGE = {"type": "string"}
_ERRORS: dict[Family, dict[str, Any]] = {
    Family.NATIVE: {"type": "object", "properties": {"error": _MESSAGE}, "required": ["error"]},
    Family.OPENAI: {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "message": _MESSAGE,
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
                "required": ["message", "type", "param", "code"],
            }
        },
        "required": ["error"],
    },
    Family.ANTHROPIC: {
        "type": "object",
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "properties": {"type": {"type": "string"}, "message": _MESSAGE},
                "required": ["type", "message"],
            },
            "request_id": {"type": "string"},
        },
        "required": ["type", "error", "request_id"],
    },
}


def openapi_document() -> dict[str, Any]:
    """Describe the API."""
    schemas = Schemas(_REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        schema = schemas.reference(operation.body) if operation.body is not None else None
        paths.setdefault(_template(operation.path), {})[operation.method.lower()] = _described(operation, schema)
    for described in schemas.found.values():
        if "options" in described["properties"]:
            described["properties"]["options"] = {"anyOf": [{"$ref": _REF.format(name="Options")}, {"type": "null"}]}
    schemas.found["Options"] = _options()
    errors = {f"Error_{family.value}": schema for family, schema in _ERRORS.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llamactor",
            "version": llamactor_version(),
            "summary": "GGUF models over the APIs of Ollama, OpenAI and Anthropic",
        },
        "paths": paths,
        "components": {"schemas": schemas.found | errors},
    }


def _options() -> dict[str, Any]:
    """Describe the options of the native API, from the table by which they are checked."""
    properties: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        schema = _OPTION_TYPES.get(option.type, {})
        default = option.default
        described = {} if default is None else {"default": list(default) if isinstance(default, tuple) else default}
        bounds = {"minimum": option.least, "maximum": option.most}
        finite = {word: bound for word, bound in bounds.items() if math.isfinite(bound)}
        properties[name] = schema | finite | described
    return {"type": "object", "properties": properties}


def _template(path: str) -> str:
    return path.replace("<path:", "<").replace("<", "{").replace(">", "}")


def _described(operation: Operation, schema: dict[str, Any] | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.operation_id,
        "summary": operation.summary,
        "responses": _responses(operation),
    }
    names = [part[1:-1].removeprefix("path:") for part in operation.path.split("/") if part.startswith("<")]
    if names:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if schema is not None:
        if operation.required:
            schema = {"allOf": [schema, {"required": list(operation.required)}]}
        content = {"schema": schema, "example": operation.example}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    elif operation.upload:
        content = {kind: {"schema": each} for kind, each in operation.upload.items()}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.reply is not None:
        content[operation.reply] = {"schema": {"type": "string" if operation.reply == "text/plain" else "object"}}
    if operation.streams is not None:
        content[operation.streams] = {"schema": {"type": "string"}}
    done: dict[str, Any] = {"description": "done"}
    if content:
        done["content"] = content
    reference = {"$ref": _REF.format(name=f"Error_{family_of(operation.path).value}")}
    failed = {"description": "refused or failed", "content": {"application/json": {"schema": reference}}}
    return {**{str(status): done for status in operation.success}, "4XX": failed, "5XX": failed}
