"""`create`: a model from a Modelfile, or straight from a file, a folder or a model."""

from pathlib import Path

import click

from gateway.cli.arguments import exactly, json_option, words
from gateway.cli.client import Client, Json
from gateway.cli.failures import CommandFailed
from gateway.cli.ingredients import Ingredients, ingredients, read_modelfile
from gateway.cli.output import spinning
from gateway.cli.progress import progress_view
from gateway.cli.upload import Report, hashed, upload
from registry.modelfile import Modelfile
from registry.names import parse_name


@click.command("create")
@words("MODEL")
@click.option("-f", "--file", "modelfile", type=Path, metavar="FILE", help='The Modelfile (default "Modelfile").')
@click.option("--from", "source", metavar="FILE", help="A GGUF file, a folder or a model, instead of a Modelfile.")
@click.option("-q", "--quantize", metavar="TYPE", help="Quantize the model to this type (e.g. q4_K_M).")
@click.option("--draft-quantize", metavar="TYPE", help="Quantize the DRAFT model to this type.")
@click.option("--copy", "copies", is_flag=True, help="Copy local files; by default the store shares them, if it can.")
@json_option
def create(
    *,
    arguments: tuple[str, ...],
    modelfile: Path | None,
    source: str | None,
    quantize: str | None,
    draft_quantize: str | None,
    copies: bool,
    as_json: bool,
) -> None:
    """Create a model."""
    (name,) = exactly(1, arguments)
    parse_name(name)
    if source is not None and modelfile is not None:
        raise CommandFailed("only one of '--file' and '--from' can be specified")
    parsed = Modelfile(sources=(source,)) if source is not None else read_modelfile(modelfile or Path("Modelfile"))
    folder = Path() if source is not None or modelfile is None else modelfile.parent
    client = Client()
    client.check()
    wanted = {"model": name, "quantize": quantize, "draft_quantize": draft_quantize}
    with progress_view(as_json=as_json) as view:
        view.show({"status": "gathering model components"})
        found = ingredients(parsed, folder=folder)
        for warning in found.warnings:
            click.echo(f"warning: {warning}", err=True)
        request = {key: value for key, value in wanted.items() if value} | _with_files(
            client, found, view.show, links=not copies
        )
        for step in client.stream("/api/create", request):
            view.show(step)


def _with_files(client: Client, found: Ingredients, report: Report, *, links: bool) -> Json:
    request = dict(found.request)
    for key, files in (("files", found.files), ("adapters", found.adapters), ("draft_files", found.drafts)):
        if not files:
            continue
        with spinning("hashing"):
            found_files = hashed(files)
        for name, path in files.items():
            upload(client, path, found_files[name], report, links=links)
        request[key] = {name: file.digest for name, file in found_files.items()}
    return request
