"""All routes of the gateway."""

from quart import Blueprint

from gateway.routes.chat import chat_routes
from gateway.routes.generate import generate_routes
from gateway.routes.root import root_routes
from gateway.worker import Worker


def blueprints(worker: Worker) -> tuple[Blueprint, ...]:
    """Build every blueprint."""
    return (
        root_routes(worker),
        generate_routes(worker),
        chat_routes(worker),
    )
