"""`ps`, `load`, `unload` and `stop`: the models in memory."""

from datetime import UTC, datetime

import click

from gateway.cli import text
from gateway.cli.arguments import exactly, json_option, words
from gateway.cli.client import Client, Json
from gateway.cli.failures import ApiFailure, CommandFailed
from gateway.cli.output import print_json, spinning
from gateway.cli.overview import LOADED_COLUMNS, loaded_columns

_HEADER = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL")
_NOT_FOUND = 404


@click.command("ps")
@words("[PREFIX]")
@json_option
def ps(*, arguments: tuple[str, ...], as_json: bool) -> None:
    """List the loaded models."""
    prefix = arguments[0] if arguments else ""
    models = Client().call("GET", "/api/ps").get("models") or []
    models = [model for model in models if model["name"].startswith(prefix)]
    if as_json:
        print_json({"models": models})
        return
    now = datetime.now(UTC)
    header = _HEADER + (LOADED_COLUMNS if any(map(loaded_columns, models)) else ())
    click.echo(text.table(header, [_row(model, now=now) + loaded_columns(model) for model in models]), nl=False)


@click.command("load")
@words("MODEL")
@click.option("--keepalive", metavar="DURATION", help="How long to keep the model loaded, as in 5m.")
@json_option
def load(*, arguments: tuple[str, ...], keepalive: str | None, as_json: bool) -> None:
    """Load a model into memory."""
    (name,) = exactly(1, arguments)
    reply = load_model(Client(), name, keep_alive=keep_alive_from(keepalive))
    if as_json:
        print_json(reply)
    else:
        click.echo(f"loaded '{name}'")


@click.command("unload")
@words("MODEL")
@json_option
def unload(*, arguments: tuple[str, ...], as_json: bool) -> None:
    """Unload a model from memory."""
    (name,) = exactly(1, arguments)
    reply = _unload(name, purpose="unload")
    if as_json:
        print_json(reply)
    else:
        click.echo(f"unloaded '{name}'")


@click.command("stop")
@words("MODEL")
@json_option
def stop(*, arguments: tuple[str, ...], as_json: bool) -> None:
    """Stop a running model, which unloads it."""
    (name,) = exactly(1, arguments)
    reply = _unload(name, purpose="stop")
    if as_json:
        print_json(reply)


def keep_alive_from(keepalive: str | None) -> str | None:
    """Check a `--keepalive` value.

    Raises:
        InvalidRequest: it is no duration; a bare number lacks its unit.
    """
    from actors.durations import parse_duration_s  # noqa: PLC0415 - few calls need it

    if keepalive:
        parse_duration_s(keepalive)
    return keepalive or None


def load_model(client: Client, name: str, *, keep_alive: str | None) -> Json:
    """Load a model and give the server's answer."""
    body: Json = {"model": name, "stream": False}
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    with spinning():
        return client.call("POST", "/api/generate", body)


def _unload(name: str, *, purpose: str) -> Json:
    try:
        with spinning():
            return Client().call("POST", "/api/generate", {"model": name, "keep_alive": 0, "stream": False})
    except ApiFailure as error:
        if error.status == _NOT_FOUND:
            raise CommandFailed(f'couldn\'t find model "{name}" to {purpose}') from error
        raise


def _row(model: Json, *, now: datetime) -> tuple[str, ...]:
    return (
        model["name"],
        text.short_id(model["digest"]),
        text.human_size(model["size"]),
        text.human_processor(size_bytes=model["size"], vram_bytes=model.get("size_vram", 0)),
        str(model.get("context_length", "")),
        text.human_until(text.parse_time(model["expires_at"]), now=now),
    )
