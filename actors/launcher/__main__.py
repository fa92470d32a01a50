"""`python -m actors.launcher`: a host's launcher as a process.

A package's `__main__` on purpose: multiprocessing would import a main script again in every child.
"""

import signal
import sys

import trio

from actors.errors import LlamactorError
from actors.launcher.actor import run_launcher
from actors.launcher.leftovers import reap_leftovers, remove_sockets
from actors.log import configure_logging
from actors.process import die_with_parent, set_title
from actors.settings import Settings, settings_from
from actors.transport import flush, lock_folder


def main() -> int:
    """Run the launcher until it is drained, and return the exit status."""
    die_with_parent()
    set_title("launcher")
    try:
        settings = settings_from()
        configure_logging(process="launcher", debug=settings.debug)
        with lock_folder(settings.run_dir, "launcher"):
            reap_leftovers(settings.run_dir)
            try:
                trio.run(_run, settings)
            finally:
                flush()
                remove_sockets(settings.run_dir)
    except LlamactorError as error:
        sys.stderr.write(f"Error: {error.message}\n")
        return 1
    return 0


async def _run(settings: Settings) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        await run_launcher(settings, signals)


if __name__ == "__main__":
    sys.exit(main())
