"""The command tree of `actorctl`, and the one place that turns errors into a line and an exit status.

Exit statuses: 0 done; 1 failed, with one `Error:` line on standard error; 130 interrupted. Commands are imported when
they are called, so that `actorctl list` does not pay for what `actorctl serve` needs.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from actors.errors import LlamactorError
from gateway.cli.failures import CommandFailed

INTERRUPTED = 130
_COMMANDS = {
    "serve": "parts:serve",
    "gateway": "parts:gateway",
    "scheduler": "parts:scheduler",
    "runner": "parts:runner",
    "create": "create:create",
    "show": "show:show",
    "run": "run:run",
    "load": "loaded:load",
    "unload": "loaded:unload",
    "stop": "loaded:stop",
    "pull": "transfer:pull",
    "push": "transfer:push",
    "list": "installed:list_models",
    "ps": "loaded:ps",
    "top": "cluster:top",
    "pin": "cluster:pin",
    "drain": "cluster:drain",
    "cp": "installed:cp",
    "rm": "installed:rm",
    "help": "help:help_for",
}
_ALIASES = {"start": "serve", "ls": "list"}


class _LazyGroup(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        place = _COMMANDS.get(_ALIASES.get(cmd_name, cmd_name))
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(f"gateway.cli.commands.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None:
            raise CommandFailed(f'unknown command "{args[0]}" for "actorctl"')
        return command.name, command, args[1:]


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("-v", "--version", "wants_version", is_flag=True, help="Show the version of server and client.")
@click.pass_context
def cli(ctx: click.Context, *, wants_version: bool) -> None:
    """Run and serve GGUF models; a drop-in for Ollama's command line."""
    if wants_version:
        from gateway.cli.commands.version import print_version  # noqa: PLC0415 - only this flag needs it

        print_version()
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run `actorctl` with the arguments of this process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and give its exit status; whatever goes wrong becomes one line on standard error."""
    try:
        status = cli.main(list(arguments), prog_name="actorctl", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `head` does. Python flushes once more at exit: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (CommandFailed, LlamactorError, click.ClickException, OSError) as error:
        click.echo(f"Error: {_line_for(error)}", err=True)
        return 1
    return status if isinstance(status, int) else 0


def _line_for(error: Exception) -> str:
    match error:
        case LlamactorError():
            text = error.message
        case click.NoSuchOption() if error.option_name.startswith("--"):
            text = f"unknown flag: {error.option_name}"
        case click.NoSuchOption():
            text = f"unknown shorthand flag: {error.option_name[1:2]!r} in {error.option_name}"
        case click.BadOptionUsage():
            text = f"flag needs an argument: {error.option_name}"
        case click.ClickException():
            text = error.format_message()
        case OSError(strerror=str(reason), filename=str(path)):
            text = f"open {path}: {reason.lower()}"
        case _:
            text = str(error)
    return text
