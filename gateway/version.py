"""The versions that `/api/version` tells."""

import functools
from importlib import metadata

OLLAMA_VERSION = "0.33.0"
"""The release of Ollama whose API this gateway answers; clients gate features on it."""


@functools.cache
def llamactor_version() -> str:
    """Give the installed version of llamactor, or `0+unknown` when it runs from an uninstalled tree."""
    try:
        return metadata.version("llamactor")
    except metadata.PackageNotFoundError:
        return "0+unknown"
