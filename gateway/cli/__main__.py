"""`python -m gateway.cli` is `actorctl`."""

from gateway.cli import main

main()
