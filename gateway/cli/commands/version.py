"""`actorctl --version`: the server's version, and ours where it differs."""

import click

from gateway.cli.client import Client
from gateway.cli.failures import CommandFailed
from gateway.version import llamactor_version


def print_version() -> None:
    """Print both versions; no server is a warning, not an error."""
    ours = llamactor_version()
    try:
        reply = Client().call("GET", "/api/version")
    except CommandFailed:
        click.echo("Warning: could not connect to a running llamactor instance")
        click.echo(f"Warning: client version is {ours}")
        return
    theirs = reply.get("llamactor") or f"{reply.get('version')} (Ollama)"
    click.echo(f"actorctl version is {theirs}")
    if theirs != ours:
        click.echo(f"Warning: client version is {ours}")
