"""A child process that does one measurement and tells it on its standard output."""

import subprocess

from tests.benchmarks.errors import NotMeasured

_TIMEOUT_S = 600.0


def output_of(command: list[str], *, given: bytes = b"") -> bytes:
    """Run a program with `given` on its standard input, and give what it wrote.

    Raises:
        NotMeasured: it failed, or took too long.
    """
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotMeasured(str(error)) from error
    if done.returncode:
        raise NotMeasured(f"{' '.join(command)} failed:\n{done.stderr.decode(errors='replace')}")
    return done.stdout
