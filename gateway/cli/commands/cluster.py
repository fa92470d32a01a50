"""`pin`, `drain` and `top`: the cluster told what to do, and watched."""

import shutil
import time

import click

from gateway.cli.arguments import exactly, json_option, words
from gateway.cli.client import Client
from gateway.cli.failures import CommandFailed
from gateway.cli.output import print_json
from gateway.cli.overview import overview_text

_CLEAR = "\x1b[H\x1b[2J"
_LEAST_INTERVAL_S = 0.2


@click.command("pin")
@words("MODEL")
@click.option("--off", is_flag=True, help="Let the model be evicted again.")
@json_option
def pin(*, arguments: tuple[str, ...], off: bool, as_json: bool) -> None:
    """Keep a model loaded: it is not evicted and does not expire."""
    (name,) = exactly(1, arguments)
    reply = Client().call("POST", "/api/pin", {"model": name, "pin": not off})
    if as_json:
        print_json(reply)
    else:
        click.echo(f"unpinned '{name}'" if off else f"pinned '{name}'")


@click.command("drain")
@words("HOST|RUNNER")
@click.option("--off", is_flag=True, help="Let the host take models again.")
@json_option
def drain(*, arguments: tuple[str, ...], off: bool, as_json: bool) -> None:
    """Let a host or a runner finish what it does and take nothing more."""
    (target,) = exactly(1, arguments)
    reply = Client().call("POST", "/api/drain", {"target": target, "drain": not off})
    if as_json:
        print_json(reply)
    else:
        click.echo(f"'{target}' takes models again" if off else f"draining '{target}': {reply['runners']} runners")


@click.command("top")
@click.option("--once", is_flag=True, help="Print once and end.")
@click.option("--interval", metavar="SECONDS", type=float, default=1.0, help="Between two looks (1).")
@json_option
def top(*, once: bool, interval: float, as_json: bool) -> None:
    """Watch hosts, runners and the queue until Ctrl+C."""
    if not interval >= _LEAST_INTERVAL_S:
        raise CommandFailed(f"--interval is at least {_LEAST_INTERVAL_S:g} seconds")
    client = Client()
    while True:
        overview = client.call("GET", "/api/status")
        if as_json:
            print_json(overview)
        else:
            width = 0 if once else shutil.get_terminal_size().columns
            click.echo(("" if once else _CLEAR) + overview_text(overview, width=width), nl=False)
        if once or as_json:
            return
        time.sleep(interval)
