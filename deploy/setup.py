"""`make setup`: everything that running and testing need, in one virtual environment. Idempotent.

Order: is all as it should be? Then nothing happens. Else, under the user's set-up lock: the environment, llama.cpp for
this machine, the pinned dependencies with the project itself, the default model. Each step keeps what it reached, so a
set-up that failed or was interrupted goes on where it ended. `deploy/setup.sh` finds the interpreter for it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy import model
from deploy.engine import build_from
from deploy.environment import Environment
from deploy.folders import ROOT, sole_setup
from deploy.report import SetupFailed, complain, say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the set-up and give its exit status."""
    options = _parser().parse_args(arguments)
    try:
        set_up(folder=options.venv, is_for_development=not options.for_service, wants_model=not options.for_service)
    except SetupFailed as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        complain("interrupted; the next set-up goes on from here")
        return 130
    return 0


def set_up(*, folder: Path, is_for_development: bool, wants_model: bool) -> None:
    """Bring the environment in `folder`, and the default model, to the state that this checkout asks for.

    Raises:
        SetupFailed: a step failed; the text says which and what cures it.
    """
    environment = Environment(folder, build=build_from(), is_for_development=is_for_development)
    if environment.is_current() and (model.is_present() or not wants_model):
        return
    with sole_setup():
        if not environment.is_current():
            environment.install()
        if wants_model:
            model.fetch_model(python=environment.python)
    say("done")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy.setup", description="Set up llamactor in a virtual environment.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="its folder (default: .venv of the checkout)")
    parser.add_argument(
        "--for-service",
        action="store_true",
        help="install a copy without test tools and default model, as deploy/install.sh does",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
