"""What is being done, for whoever waits; on standard error, as the report goes to standard output."""

import sys


def progress(text: str) -> None:
    """Print one line."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
