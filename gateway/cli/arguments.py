"""Counting arguments, and the options that several commands share."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from gateway.cli.failures import CommandFailed

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Add `--json`: the result on standard output is for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def words(metavar: str) -> Callable[[F], F]:
    """Take any number of arguments, to be counted by `exactly` or `at_least`."""
    return click.argument("arguments", nargs=-1, metavar=metavar)


def exactly(count: int, arguments: Sequence[str]) -> Sequence[str]:
    """Give the arguments if there are `count` of them.

    Raises:
        CommandFailed: there are more or fewer.
    """
    if len(arguments) != count:
        raise CommandFailed(f"accepts {count} arg(s), received {len(arguments)}")
    return arguments


def at_least(count: int, arguments: Sequence[str]) -> Sequence[str]:
    """Give the arguments if there are `count` or more.

    Raises:
        CommandFailed: there are fewer.
    """
    if len(arguments) < count:
        raise CommandFailed(f"requires at least {count} arg(s), only received {len(arguments)}")
    return arguments
