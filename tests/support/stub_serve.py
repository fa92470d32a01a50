"""`serve` with stub parts, as a program: `python -m tests.support.stub_serve`."""

import sys

from actors.errors import LlamactorError
from actors.settings import settings_from
from actors.supervisor import Modules, serve

_STUB = "tests.support.stub_part"

if __name__ == "__main__":
    try:
        serve(settings_from(), modules=Modules(gateway=_STUB, scheduler=_STUB, launcher=_STUB))
    except LlamactorError as error:
        sys.exit(f"Error: {error.message}")
