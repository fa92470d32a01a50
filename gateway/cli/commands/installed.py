"""`list`, `cp` and `rm`: the models in the store."""

from contextlib import suppress
from datetime import UTC, datetime

import click

from gateway.cli import text
from gateway.cli.arguments import at_least, exactly, json_option, words
from gateway.cli.client import Client, Json
from gateway.cli.failures import ApiFailure
from gateway.cli.output import print_json, print_json_line


@click.command("list")
@words("[PREFIX]")
@json_option
def list_models(*, arguments: tuple[str, ...], as_json: bool) -> None:
    """List the installed models (alias: ls)."""
    prefix = arguments[0] if arguments else ""
    if as_json:
        print_json({"models": _models(Client(), prefix)})
    else:
        print_models(Client(), prefix)


@click.command("cp")
@words("SOURCE DESTINATION")
@json_option
def cp(*, arguments: tuple[str, ...], as_json: bool) -> None:
    """Copy a model."""
    source, destination = exactly(2, arguments)
    Client().call("POST", "/api/copy", {"source": source, "destination": destination})
    if as_json:
        print_json({"source": source, "destination": destination})
    else:
        click.echo(f"copied '{source}' to '{destination}'")


@click.command("rm")
@words("MODEL...")
@json_option
def rm(*, arguments: tuple[str, ...], as_json: bool) -> None:
    """Remove models, unloading them first."""
    client = Client()
    for name in at_least(1, arguments):
        with suppress(ApiFailure):  # what cannot be unloaded may still be deleted; deleting reports the rest
            client.call("POST", "/api/generate", {"model": name, "keep_alive": 0})
        client.call("DELETE", "/api/delete", {"model": name})
        if as_json:
            print_json_line({"deleted": name})
        else:
            click.echo(f"deleted '{name}'")


def print_models(client: Client, prefix: str) -> None:
    """Print the table of the installed models whose names start with `prefix`, in upper or lower case."""
    now = datetime.now(UTC)
    rows = [_row(model, now=now) for model in _models(client, prefix)]
    click.echo(text.table(("NAME", "ID", "SIZE", "MODIFIED"), rows), nl=False)


def _models(client: Client, prefix: str) -> list[Json]:
    models = client.call("GET", "/api/tags").get("models") or []
    return [model for model in models if model["name"].lower().startswith(prefix.lower())]


def _row(model: Json, *, now: datetime) -> tuple[str, str, str, str]:
    size = "-" if model.get("remote_model") else text.human_size(model["size"])
    modified = text.human_time(text.parse_time(model["modified_at"]), now=now)
    return model["name"], text.short_id(model["digest"]), size, modified
