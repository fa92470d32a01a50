"""What a request may ask of a model, and what this version cannot do: refused by name, never silently ignored."""

from collections.abc import Sequence
from typing import Any

from actors.errors import InvalidRequest, NotAvailable, UnsupportedByModel
from gateway.models import ServedModel
from gateway.wire import fields
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
    """Refuse tools.

    Raises:
        UnsupportedByModel: the model's template knows none.
        NotAvailable: this version does not parse calls.
    """
    if tools:
        if not model.can(TOOLS):
            raise UnsupportedByModel(model.canonical, TOOLS)
        raise NotAvailable("tools", "send the request without them")


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


def check_format(raw: bytes) -> None:
    """Refuse a constraint on the answer.

    Raises:
        InvalidRequest: it is no format at all.
        NotAvailable: it is one.
    """
    if fields.has_format(raw):
        raise NotAvailable("format", "ask for JSON in the prompt")


def check_reads_media(model: ServedModel, media: Sequence[bytes]) -> None:
    """Check that a model that gets images or sounds can read any.

    Raises:
        UnsupportedByModel: it has no projector.
    """
    if media and not model.spec.projector_paths:
        raise UnsupportedByModel(f'"{model.requested}"', "images: it has no projector, choose a model that has one")


def check_logprobs(*, wanted: bool | None) -> None:
    """Refuse log probabilities.

    Raises:
        NotAvailable: they are wanted.
    """
    if wanted:
        raise NotAvailable("logprobs", "send the request without it")


def check_debug(*, wanted: bool | None) -> None:
    """Refuse to show the rendered prompt.

    Raises:
        NotAvailable: it is wanted.
    """
    if wanted:
        raise NotAvailable("_debug_render_only", "send the request without it")


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
