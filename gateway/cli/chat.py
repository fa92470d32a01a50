"""The chat that `run` starts on a terminal: reads messages and slash commands until Ctrl+D or `/bye`."""

import sys

import click

from actors.errors import LlamactorError
from gateway.cli.answer import print_answer
from gateway.cli.client import Client, Json
from gateway.cli.commands.loaded import load_model
from gateway.cli.failures import CommandFailed
from gateway.cli.history import History
from gateway.cli.output import spinning
from gateway.cli.session import Session
from gateway.cli.slash import SlashCommands
from gateway.cli.statistics import statistics

_PROMPT, _MORE = ">>> ", "... "
_QUOTES = '"""'
_QUOTED_COMMAND = "/set system "


def chat(client: Client, session: Session, description: Json) -> None:
    """Load the model, then read and answer until the user leaves.

    Raises:
        CommandFailed: the model cannot be loaded. What fails later is printed, and the chat goes on.
    """
    load_model(client, session.model, keep_alive=session.keep_alive)
    _echo_stored(description)
    with History() as history:
        commands = SlashCommands(client, session, history)
        click.echo("Send a message (/? for help)")
        while (text := read_message(history)) is not None:
            if not text.strip():
                continue
            try:
                if not session.is_command(text):
                    answer(client, session, text)
                elif not commands.obey(text):
                    return
            except (CommandFailed, LlamactorError) as error:
                click.echo(f"Error: {error}", err=True)


def read_message(history: History) -> str | None:
    """Read one message, which triple quotes spread over several lines; None when the user leaves."""
    try:
        line = history.read_line(_PROMPT)
        start = len(_QUOTED_COMMAND) if line.startswith(_QUOTED_COMMAND) else 0
        if not line[start:].startswith(_QUOTES):
            return line
        lines = [line[start + len(_QUOTES) :]]
        while not lines[-1].rstrip().endswith(_QUOTES):
            lines.append(history.read_line(_MORE))
        lines[-1] = lines[-1].rstrip().removesuffix(_QUOTES)
        return line[:start] + "\n".join(lines)
    except EOFError:
        click.echo()
        return None
    except KeyboardInterrupt:
        click.echo("" if history.pending_line() else "\nUse Ctrl + d or /bye to exit.")
        return ""


def answer(client: Client, session: Session, text: str) -> None:
    """Answer one message; what an interrupted answer had so far stays in the conversation.

    Raises:
        CommandFailed: the server refused or failed, or a file could not be read; the conversation is as it was before.
    """
    session.messages.append(session.user_message(text))
    try:
        with spinning() as spinner:
            reply = print_answer(client.stream("/api/chat", session.chat_body()), session.display, spinner=spinner)
    except CommandFailed:
        session.messages.pop()
        sys.stdout.write("\n")
        raise
    message = {"role": "assistant", "content": reply.content}
    session.messages.append(message | ({"thinking": reply.thinking} if reply.thinking else {}))
    click.echo("\n")
    if reply.final is not None and session.display.shows_statistics:
        click.echo(statistics(reply.final), err=True)


def _echo_stored(description: Json) -> None:
    for message in description.get("messages") or []:
        if message.get("role") == "user":
            click.echo(f"{_PROMPT}{message['content']}")
        elif message.get("role") == "assistant":
            click.echo(f"{message['content']}\n")
