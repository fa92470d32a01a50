"""`pull` and `push`, which this version does not offer yet; they say so instead of being unknown."""

import click

from gateway.cli.arguments import exactly, words
from gateway.cli.failures import CommandFailed


@click.command("pull")
@words("MODEL")
@click.option("--insecure", is_flag=True, help="Use an insecure registry.")
def pull(*, arguments: tuple[str, ...], insecure: bool) -> None:
    """Pull a model from a registry (not available in this version)."""
    del insecure
    (name,) = exactly(1, arguments)
    raise CommandFailed(
        f"pull is not available in this version: download the GGUF file of {name} yourself, "
        f"then run 'actorctl create {name} --from FILE.gguf'"
    )


@click.command("push")
@words("MODEL")
@click.option("--insecure", is_flag=True, help="Use an insecure registry.")
def push(*, arguments: tuple[str, ...], insecure: bool) -> None:
    """Push a model to a registry (not available in this version)."""
    del insecure
    exactly(1, arguments)
    raise CommandFailed("push is not available in this version")
