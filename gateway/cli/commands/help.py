"""`actorctl help [COMMAND]`."""

import click

from gateway.cli.failures import CommandFailed


@click.command("help")
@click.argument("name", required=False, metavar="[COMMAND]")
@click.pass_context
def help_for(ctx: click.Context, *, name: str | None) -> None:
    """Show help for a command."""
    root = ctx.find_root()
    if name is None:
        click.echo(root.get_help())
        return
    group = root.command
    command = group.get_command(root, name) if isinstance(group, click.Group) else None
    if command is None:
        raise CommandFailed(f'unknown command "{name}" for "actorctl"')
    with click.Context(command, info_name=command.name, parent=root) as context:
        click.echo(command.get_help(context))
