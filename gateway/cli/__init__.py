"""The command line, `actorctl`: thin commands over the HTTP API, and the start of the server's parts."""

from gateway.cli.app import main

__all__ = ["main"]
