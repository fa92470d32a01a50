"""`create`: a model from a Modelfile, or straight from a GGUF file."""

from pathlib import Path

import click

from gateway.cli.arguments import exactly, json_option, words
from gateway.cli.client import Client, Json
from gateway.cli.failures import CommandFailed
from gateway.cli.ingredients import Ingredients, ingredients, read_modelfile
from gateway.cli.output import print_json_line, spinning
from gateway.cli.upload import Report, digests_of, upload
from registry.modelfile import Modelfile
from registry.names import parse_name


@click.command("create")
@words("MODEL")
@click.option("-f", "--file", "modelfile", type=Path, metavar="FILE", help='The Modelfile (default "Modelfile").')
@click.option("--from", "source", metavar="FILE", help="A GGUF file, or a model, instead of a Modelfile.")
@click.option("-q", "--quantize", metavar="LEVEL", hidden=True, help="Not available in this version.")
@json_option
def create(
    *, arguments: tuple[str, ...], modelfile: Path | None, source: str | None, quantize: str | None, as_json: bool
) -> None:
    """Create a model."""
    (name,) = exactly(1, arguments)
    parse_name(name)
    if quantize:
        raise CommandFailed("quantizing is not available in this version: quantize the GGUF file first")
    if source is not None and modelfile is not None:
        raise CommandFailed("only one of '--file' and '--from' can be specified")
    parsed = Modelfile(sources=(source,)) if source is not None else read_modelfile(modelfile or Path("Modelfile"))
    folder = Path() if source is not None or modelfile is None else modelfile.parent
    report: Report = _report_json if as_json else _report
    client = Client()
    client.check()
    report("gathering model components")
    found = ingredients(parsed, folder=folder)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    for status in client.stream("/api/create", {"model": name, **_with_files(client, found, report)}):
        if text := status.get("status"):
            report(text)


def _with_files(client: Client, found: Ingredients, report: Report) -> Json:
    request = dict(found.request)
    for key, files in (("files", found.files), ("adapters", found.adapters)):
        if not files:
            continue
        with spinning("hashing"):
            digests = digests_of(files)
        for name, path in files.items():
            upload(client, path, digests[name], report)
        request[key] = digests
    return request


def _report(status: str) -> None:
    click.echo(status, err=True)


def _report_json(status: str) -> None:
    print_json_line({"status": status})
