"""What a request may ask of a model, and what this version cannot do: refused by name, never silently ignored."""

from collections.abc import Sequence
from typing import Any

from actors.errors import InvalidRequest, UnsupportedByModel
from gateway.models import ServedModel
from registry.capabilities import COMPLETION, INSERT, THINKING, TOOLS
from registry.templates.goscan import scan_go_template


def check_completes(model: ServedModel, purpose: str) -> None:
    """Check that a model generates text.

    Raises:
        UnsupportedByModel: it embeds only.
    """
    if not model.can(COMPLETION):
        raise UnsupportedByModel(f'"{model.requested}"', purpose)


def check_thinks(model: ServedModel, think: bool | str | None) -> None:  # noqa: FBT001  # the wire's own type
    """Check that a model can think when it is told to.

    Raises:
        UnsupportedByModel: it cannot.
    """
    if think and not model.can(THINKING):
        raise UnsupportedByModel(f'"{model.requested}"', THINKING)


def check_tools(model: ServedModel, tools: Sequence[dict[str, Any]] | None) -> None:
    """Check that a model can be given these tools.

    Raises:
        UnsupportedByModel: its template knows none.
        InvalidRequest: one is no function.
    """
    if tools and not model.can(TOOLS):
        raise UnsupportedByModel(model.canonical, TOOLS)
    for index, tool in enumerate(tools or ()):
        _check_tool(f"tools[{index}]", tool)


def fill_template(model: ServedModel, suffix: str | None, template: str | None = None) -> str | None:
    """Give the template that puts a suffix into a prompt; None without a suffix.

    Args:
        model: its stored template is used unless the request brings one.
        suffix: what follows the gap.
        template: the request's, already checked.

    Raises:
        UnsupportedByModel: neither template knows a suffix.
    """
    if not suffix:
        return None
    if template and INSERT in scan_go_template(template).capabilities:
        return template
    if not model.can(INSERT) or model.go_template is None:
        raise UnsupportedByModel(model.canonical, INSERT)
    return model.go_template


def check_reads_media(model: ServedModel) -> None:
    """Check that a model can read images or sounds.

    Raises:
        UnsupportedByModel: it has no projector.
    """
    if not model.spec.projector_paths:
        raise UnsupportedByModel(f'"{model.requested}"', "images: it has no projector, choose a model that has one")


def check_raw(*, raw: bool | None, others: Sequence[object]) -> None:
    """Check that a raw prompt stands alone.

    Raises:
        InvalidRequest: something would have to be rendered into it.
    """
    if raw and any(others):
        raise InvalidRequest("raw mode does not support template, system, or context")


def check_template(template: str | None) -> None:
    """Check a template for one call.

    Raises:
        InvalidRequest: it has a syntax error.
    """
    if template:
        scan_go_template(template)


def _check_tool(where: str, tool: dict[str, Any]) -> None:
    if tool.get("type", "function") != "function":
        raise InvalidRequest(f'{where}.type must be "function"')
    function = tool.get("function")
    if not isinstance(function, dict):
        raise InvalidRequest(f"{where}.function must be an object with the name of a function")
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise InvalidRequest(f"{where}.function.name must be the name of a function")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequest(f"{where}.function.parameters must be a JSON Schema object")
    if parameters and not isinstance(parameters.get("properties", {}), dict):
        raise InvalidRequest(f"{where}.function.parameters.properties must be an object")
