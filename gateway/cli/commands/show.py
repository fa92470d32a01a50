"""`show`: a model's description, whole or one part of it."""

import click

from gateway.cli.arguments import exactly, json_option, words
from gateway.cli.client import Client, Json
from gateway.cli.description import description
from gateway.cli.failures import CommandFailed
from gateway.cli.output import print_json

_PARTS = ("license", "modelfile", "parameters", "system", "template")
_WITHOUT_NEWLINE = {"system", "template"}


@click.command("show")
@words("MODEL")
@click.option("--license", "part", flag_value="license", multiple=True, help="Show the license.")
@click.option("--modelfile", "part", flag_value="modelfile", multiple=True, help="Show the Modelfile.")
@click.option("--parameters", "part", flag_value="parameters", multiple=True, help="Show the parameters.")
@click.option("--system", "part", flag_value="system", multiple=True, help="Show the system message.")
@click.option("--template", "part", flag_value="template", multiple=True, help="Show the template.")
@click.option("-v", "--verbose", is_flag=True, help="Show metadata and tensors, too.")
@json_option
def show(*, arguments: tuple[str, ...], part: tuple[str, ...], verbose: bool, as_json: bool) -> None:
    """Show what is known of a model."""
    (name,) = exactly(1, arguments)
    if len(part) > 1:
        flags = ", ".join(f"'--{name}'" for name in _PARTS[:-1])
        raise CommandFailed(f"only one of {flags}, or '--{_PARTS[-1]}' can be specified")
    reply = describe(Client(), name, verbose=verbose)
    if as_json:
        print_json(reply)
    elif part:
        print_part(reply, part[0])
    else:
        click.echo(description(reply, verbose=verbose), nl=False)


def describe(client: Client, name: str, *, verbose: bool = False) -> Json:
    """Ask the server what it knows of a model."""
    return client.call("POST", "/api/show", {"model": name, "verbose": verbose})


def print_part(reply: Json, part: str) -> None:
    """Print one text of a description."""
    click.echo(reply.get(part) or "", nl=part not in _WITHOUT_NEWLINE)
