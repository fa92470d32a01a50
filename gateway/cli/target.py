"""Where the client finds its server: OLLAMA_HOST, read as a client reads it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from actors.settings import split_host

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to listen on, replaced by ones to call


@dataclass(frozen=True, slots=True)
class Target:
    """An HTTP server's address."""

    host: str
    port: int
    prefix: str = ""
    """Path in front of every route, without a slash at its end."""
    is_encrypted: bool = False


def target_from(environ: Mapping[str, str] = os.environ) -> Target:
    """Read OLLAMA_HOST; an address that means "all of this machine" becomes its loopback."""
    text = environ.get("OLLAMA_HOST", "").strip(" \t\"'")
    host, port = split_host(text)
    scheme, _, rest = text.rpartition("://")
    prefix = rest.partition("/")[2].strip("/")
    return Target(
        host=_EVERY_ADDRESS.get(host, host),
        port=port,
        prefix=f"/{prefix}" if prefix else "",
        is_encrypted=scheme == "https",
    )
