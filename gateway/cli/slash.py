"""The commands inside a chat: `/set`, `/show`, `/load`, `/save`, `/list`, `/clear`, `/bye` and help."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import click

from gateway.cli.client import Client
from gateway.cli.commands.installed import print_models
from gateway.cli.commands.loaded import load_model
from gateway.cli.commands.show import describe, print_part
from gateway.cli.description import description
from gateway.cli.failures import CommandFailed
from gateway.cli.history import History
from gateway.cli.session import Session
from gateway.cli.slash_help import GENERAL, SET, SHORTCUTS, SHOW
from registry.parameters import parse_parameter

_TEXTS = ("license", "modelfile", "parameters", "system", "template")
_LEVELS = ("low", "medium", "high", "max")


class SlashCommands:
    """Obeys slash commands on a session, which it changes in place."""

    def __init__(self, client: Client, session: Session, history: History) -> None:
        self._client = client
        self._session = session
        self._history = history
        self._commands: dict[str, Callable[[str], None]] = {
            "/set": self._set,
            "/show": self._show,
            "/load": self._load,
            "/save": self._save,
            "/list": self._list,
            "/clear": self._clear,
            "/help": self._help,
            "/?": self._help,
        }
        self._settings: dict[str, Callable[[str], str]] = {
            "parameter": self._set_parameter,
            "system": self._set_system,
            "format": self._set_format,
            "noformat": self._unset_format,
            "think": self._set_think,
            "nothink": self._unset_think,
            "history": lambda _: self._set_history(on=True),
            "nohistory": lambda _: self._set_history(on=False),
            "wordwrap": lambda _: self._set_display("wordwrap", wraps_words=True),
            "nowordwrap": lambda _: self._set_display("nowordwrap", wraps_words=False),
            "verbose": lambda _: self._set_display("verbose", shows_statistics=True),
            "quiet": lambda _: self._set_display("quiet", shows_statistics=False),
        }

    def obey(self, line: str) -> bool:
        """Do what a line says; False when it says to leave.

        Raises:
            CommandFailed, LlamactorError: it could not be done; nothing was changed.
        """
        command, _, rest = line.strip().partition(" ")
        if command in {"/bye", "/exit"}:
            return False
        action = self._commands.get(command)
        if action is None:
            click.echo(f"Unknown command '{command}'. Type /? for help")
        else:
            action(rest.strip())
        return True

    def _set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        setting = self._settings.get(name)
        if setting is not None:
            click.echo(setting(value.strip()))
        elif name:
            click.echo(f"Unknown command '/set {name}'. Type /? for help")
        else:
            click.echo(SET)

    def _set_parameter(self, value: str) -> str:
        name, _, text = value.partition(" ")
        words = text.split()
        if not words:
            raise CommandFailed("Usage: /set parameter <name> <value>")
        self._session.options |= parameters_from(name, words)
        return f"Set parameter '{name}' to '{', '.join(words)}'"

    def _set_system(self, text: str) -> str:
        if not text:
            raise CommandFailed("Usage: /set system <message>")
        self._session.system = text.strip().removeprefix('"""').removesuffix('"""')
        return "Set system message."

    def _set_format(self, value: str) -> str:
        if value != "json":
            raise CommandFailed("Usage: /set format json")
        self._session.answer_format = value
        return f"Set format to '{value}' mode."

    def _unset_format(self, _: str) -> str:
        self._session.answer_format = None
        return "Disabled format."

    def _set_think(self, level: str) -> str:
        if level and level not in _LEVELS:
            raise CommandFailed(f"Usage: /set think [{'|'.join(_LEVELS)}]")
        self._session.think = level or True
        return f"Set 'think' mode to '{level}'." if level else "Set 'think' mode."

    def _unset_think(self, _: str) -> str:
        self._session.think = False
        return "Set 'nothink' mode."

    def _set_history(self, *, on: bool) -> str:
        self._history.switch(on=on)
        return "Set 'history' mode." if on else "Set 'nohistory' mode."

    def _set_display(self, mode: str, **changes: bool) -> str:
        self._session.display = replace(self._session.display, **changes)
        return f"Set '{mode}' mode."

    def _show(self, part: str) -> None:
        if part == "info":
            click.echo(description(describe(self._client, self._session.model), verbose=False), nl=False)
        elif part == "system" and self._session.system:
            click.echo(self._session.system)
        elif part in _TEXTS:
            reply = describe(self._client, self._session.model)
            if reply.get(part):
                print_part(reply, part)
                click.echo()
            else:
                click.echo(f"No {part} was specified for this model.")
            if part == "parameters" and self._session.options:
                click.echo(f"Set in this session: {self._session.options}")
        else:
            click.echo(SHOW)

    def _load(self, name: str) -> None:
        if not name:
            raise CommandFailed("Usage: /load <model>")
        reply = describe(self._client, name)
        load_model(self._client, name, keep_alive=self._session.keep_alive)
        self._session.model = name
        self._session.messages.clear()
        self._session.take_description(reply)
        click.echo(f"Loaded model '{name}'")

    def _save(self, name: str) -> None:
        if not name:
            raise CommandFailed("Usage: /save <model>")
        session = self._session
        body: dict[str, Any] = {"model": name, "from": session.parent_model or session.model, "stream": False}
        extras = {"system": session.system, "parameters": session.options, "messages": session.messages}
        self._client.call("POST", "/api/create", body | {key: value for key, value in extras.items() if value})
        click.echo(f"Created new model '{name}'")

    def _list(self, prefix: str) -> None:
        print_models(self._client, prefix)

    def _clear(self, _: str) -> None:
        self._session.messages.clear()
        click.echo("Cleared session context")

    def _help(self, topic: str) -> None:
        click.echo({"set": SET, "/set": SET, "show": SHOW, "/show": SHOW, "shortcuts": SHORTCUTS}.get(topic, GENERAL))


def parameters_from(name: str, values: Sequence[str]) -> dict[str, Any]:
    """Give the option that `/set parameter` describes, in its type.

    Raises:
        LlamactorError: no such parameter, or a value of another type.
    """
    if name == "stop":
        return {name: list(values)}
    return {name: parse_parameter(name, " ".join(values))}
