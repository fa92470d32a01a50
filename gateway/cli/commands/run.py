"""`run`: one answer to a prompt, or a chat."""

import json
import sys
from typing import Any

import click

from gateway.cli.answer import Display, print_answer
from gateway.cli.arguments import at_least, json_option, words
from gateway.cli.client import Client, Json
from gateway.cli.commands.loaded import keep_alive_from
from gateway.cli.commands.show import describe
from gateway.cli.commands.transfer import transfer
from gateway.cli.failures import ApiFailure, CommandFailed
from gateway.cli.output import print_json, spinning
from gateway.cli.session import Session
from gateway.cli.statistics import statistics

_NOT_FOUND = 404
_INTERRUPTED = 130


class _RunCommand(click.Command):
    """Takes a bare `--think` for `--think=true`, whatever word comes after it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = args[: args.index("--")] if "--" in args else args
        spelled = ["--think=true" if argument == "--think" else argument for argument in options]
        return super().parse_args(ctx, spelled + args[len(options) :])


@click.command("run", cls=_RunCommand)
@words("MODEL [PROMPT]...")
@click.option("--keepalive", metavar="DURATION", help="How long to keep the model loaded, as in 5m.")
@click.option("--verbose", is_flag=True, help="Show counts and durations of each answer.")
@click.option("--insecure", is_flag=True, help="Pull the model, if it is missing, over plain HTTP.")
@click.option("--nowordwrap", is_flag=True, help="Leave line breaks to the terminal.")
@click.option("--format", "answer_format", metavar="FORMAT", help="json, or a JSON schema.")
@click.option("--think", metavar="[LEVEL]", help="true, false, low, medium, high or max.")
@click.option("--hidethinking", is_flag=True, help="Do not show the thinking.")
@click.option("--truncate", type=bool, help="For embedding models: cut what is too long.")
@click.option("--dimensions", type=int, help="For embedding models: the length of the vector.")
@json_option
def run(
    *, arguments: tuple[str, ...], keepalive: str | None, verbose: bool, insecure: bool, nowordwrap: bool,
    answer_format: str | None, think: str | None, hidethinking: bool, truncate: bool | None, dimensions: int | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Answer a prompt, or chat when there is none.

    What is piped in comes before the prompt.
    """
    name, *prompt_words = at_least(1, arguments)
    session = Session(
        model=name,
        display=Display(wraps_words=not nowordwrap, shows_thinking=not hidethinking, shows_statistics=verbose),
        keep_alive=keep_alive_from(keepalive),
        answer_format=format_from(answer_format),
        think=think_from(think),
    )
    client = Client()
    reply = _describe(client, name, insecure=insecure)
    session.take_description(reply)
    has_terminal = sys.stdin is not None and sys.stdin.isatty()
    piped = "" if has_terminal or sys.stdin is None else sys.stdin.read()
    prompt = " ".join(part for part in (piped, *prompt_words) if part)
    if session.is_for_embeddings():
        _print_embedding(client, session, prompt, {"truncate": truncate, "dimensions": dimensions})
    elif as_json:
        print_json(client.call("POST", "/api/generate", session.generate_body(prompt) | {"stream": False}))
    elif prompt or not has_terminal or not sys.stdout.isatty():
        return answer_once(client, session, prompt)
    else:
        from gateway.cli.chat import chat  # noqa: PLC0415 - only a chat needs line editing

        chat(client, session, reply)
    return 0


def answer_once(client: Client, session: Session, prompt: str) -> int:
    """Print the answer to one prompt and give the exit status."""
    with spinning() as spinner:
        stream = client.stream("/api/generate", session.generate_body(prompt))
        answer = print_answer(stream, session.display, spinner=spinner)
    click.echo("\n" if prompt else "", nl=bool(prompt))
    if answer.final is None:
        return _INTERRUPTED
    if session.display.shows_statistics:
        click.echo(statistics(answer.final), err=True, nl=False)
    return 0


def format_from(text: str | None) -> Any:
    """Read a `--format` value: `json`, or a schema.

    Raises:
        CommandFailed: neither.
    """
    if text is None or text in {"", "json"}:
        return text or None
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandFailed(f'invalid format: it must be "json" or a JSON schema ({error})') from error


def think_from(text: str | None) -> bool | str | None:
    """Read a `--think` value.

    Raises:
        CommandFailed: it is no level.
    """
    match text:
        case None | "":
            return None
        case "true" | "false":
            return text == "true"
        case "low" | "medium" | "high" | "max":
            return text
    raise CommandFailed(f'invalid value for --think: "{text}" (must be true, false, high, medium, low, or max)')


def _describe(client: Client, name: str, *, insecure: bool) -> Json:
    try:
        return describe(client, name)
    except ApiFailure as error:
        if error.status != _NOT_FOUND:
            raise
    transfer(client, "/api/pull", {"model": name, "insecure": insecure})
    return describe(client, name)


def _print_embedding(client: Client, session: Session, prompt: str, extra: Json) -> None:
    if not prompt:
        raise CommandFailed("embedding models require input text")
    body: Json = {"model": session.model, "input": prompt} | {name: value for name, value in extra.items() if value}
    if session.keep_alive is not None:
        body["keep_alive"] = session.keep_alive
    with spinning():
        vectors = client.call("POST", "/api/embed", body).get("embeddings") or [[]]
    click.echo(json.dumps(vectors[0], separators=(",", ":")))
