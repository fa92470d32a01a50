"""`pull` and `push`: models from and to registries, with bars, or with the stream's own objects for programs."""

from pathlib import Path

import click

from gateway.cli.arguments import exactly, json_option, words
from gateway.cli.client import Client, Json
from gateway.cli.failures import CommandFailed
from gateway.cli.progress import progress_view

_MULTIPLES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


@click.command("pull")
@words("MODEL")
@click.option("--insecure", is_flag=True, help="Ask the registry over plain HTTP.")
@click.option("--as", "target", metavar="NAME", help="Name for a model that comes from a URL or a file.")
@click.option("--limit-rate", metavar="RATE", help="Take at most so many bytes per second, such as 500K or 10M.")
@json_option
def pull(
    *, arguments: tuple[str, ...], insecure: bool, target: str | None, limit_rate: str | None, as_json: bool
) -> None:
    """Pull a model: its name at a registry, the URL of a GGUF file, or a file's path."""
    (name,) = exactly(1, arguments)
    body: Json = {"model": _absolute(name), "insecure": insecure}
    if target:
        body["as"] = target
    if limit_rate:
        body["max_rate"] = parse_rate(limit_rate)
    transfer(Client(), "/api/pull", body, as_json=as_json)


@click.command("push")
@words("MODEL")
@click.option("--insecure", is_flag=True, help="Ask the registry over plain HTTP.")
@json_option
def push(*, arguments: tuple[str, ...], insecure: bool, as_json: bool) -> None:
    """Push a model to the registry that its name names."""
    (name,) = exactly(1, arguments)
    transfer(Client(), "/api/push", {"model": name, "insecure": insecure}, as_json=as_json)


def transfer(client: Client, path: str, body: Json, *, as_json: bool = False) -> None:
    """Pull or push, showing how far it is.

    Raises:
        ApiFailure: it failed; what has come is kept for the next attempt.
    """
    client.check()
    with progress_view(as_json=as_json) as view:
        for step in client.stream(path, body):
            view.show(step)


def parse_rate(text: str) -> int:
    """Read a rate in bytes per second, with K, M or G for thousands, millions and billions.

    Raises:
        CommandFailed: it is none.
    """
    number, unit = text.strip().upper().removesuffix("B"), ""
    if number[-1:] in _MULTIPLES and number:
        number, unit = number[:-1], number[-1]
    if not number.isdecimal() or not number.isascii() or len(number) > 12 or not int(number):  # noqa: PLR2004 - terabytes
        raise CommandFailed(f"'{text}' is no rate: write bytes per second, such as 500K or 10M")
    return int(number) * _MULTIPLES[unit]


def _absolute(name: str) -> str:
    """Give the path of a GGUF file as the server finds it too; leave names and URLs as they are."""
    if name.lower().endswith(".gguf") and "://" not in name and Path(name).is_file():
        return str(Path(name).absolute())
    return name
